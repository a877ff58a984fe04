"""The stack's programs: what is started, with which words, and what stays private."""

import importlib
import importlib.util
import itertools
import re
import sys
from pathlib import Path

import pytest

from core.settings import ROOT, Settings
from stack.programs import (
    LORA_EXTENSION,
    programs,
    stack_environment,
    vllm_command,
    vllm_environment,
)
from stack.supervisor import last_words
from workers.kinds import JOBS, kinds


def make(tmp_path, **changed):
    return Settings(**{"home": tmp_path, **changed}, _env_file=None)


def names(settings):
    return [program.name for program in programs(settings)]


def test_a_local_stack_brings_everything_along(tmp_path):
    """No service needs to be installed beforehand."""
    expected = ["postgres", "redis", "vllm", "worker", "trainer", "beat", "web"]
    assert expected == names(make(tmp_path))


@pytest.mark.parametrize(
    ("setting", "url", "program"),
    [
        ("database_url", "postgresql://db/ratchet", "postgres"),
        ("broker_url", "amqp://rabbit", "redis"),
        ("vllm_url", "http://gpu:8001", "vllm"),
    ],
)
def test_an_external_service_is_not_started(tmp_path, setting, url, program):
    """Somebody else runs it already."""
    assert program not in names(make(tmp_path, **{setting: url}))


def test_vllm_listens_on_no_port(tmp_path):
    """Its key guards only some of its routes, and one of them loads weights from any folder."""
    command = vllm_command(make(tmp_path))

    assert str(tmp_path / "vllm" / "vllm.sock") == command[command.index("--uds") + 1]
    assert not {"--host", "--port"} & set(command)


def test_a_servers_vllm_listens_where_it_is_told(tmp_path):
    """In compose its network is private; a socket file would not cross containers."""
    command = vllm_command(make(tmp_path, vllm_url="http://vllm:8001"), host="0.0.0.0")

    assert "0.0.0.0" == command[command.index("--host") + 1]
    assert "--uds" not in command


def test_the_local_vllm_has_a_key_of_its_own(tmp_path):
    """Made at the first start like the other secrets, and readable by its owner only."""
    key = vllm_environment(make(tmp_path))["VLLM_API_KEY"]

    assert (tmp_path / "vllm-api-key").read_text() == key
    assert 0o600 == (tmp_path / "vllm-api-key").stat().st_mode & 0o777


def test_the_key_is_not_an_argument(tmp_path):
    """Everyone on a machine can read the arguments of its processes."""
    settings = make(tmp_path, vllm_api_key="sesame")

    assert "sesame" not in " ".join(vllm_command(settings))
    assert "sesame" == vllm_environment(settings)["VLLM_API_KEY"]


def test_a_local_model_is_never_looked_up_on_a_hub(tmp_path):
    """Offline machines would wait for a timeout at every start."""
    assert "1" == vllm_environment(make(tmp_path, model=str(tmp_path)))["HF_HUB_OFFLINE"]
    assert "HF_HUB_OFFLINE" not in vllm_environment(make(tmp_path, model="Qwen/Qwen3-0.6B"))


def test_programs_get_the_settings_of_who_starts_them(tmp_path):
    """A stack started from another folder must not read another .env."""
    env = stack_environment(make(tmp_path, web_port=7999))

    assert "7999" == env["RATCHET_WEB_PORT"]
    assert str(tmp_path) == env["RATCHET_HOME"] == env["RATCHET_SUPERVISED"]


def test_only_the_page_gets_the_pages_secrets(tmp_path):
    """Who breaks into the model server must not find the admin's password in its environment."""
    given = {"admin_password": "a", "session_secret": "b", "metrics_token": "c"}
    settings = make(tmp_path, **given)
    inherited = stack_environment(settings)

    for program in programs(settings):
        seen = inherited | program.env
        found = [seen[f"RATCHET_{name.upper()}"] for name in given]
        assert (["a", "b", "c"] if program.name == "web" else [""] * 3) == found, program.name


def test_training_gives_way_to_the_chat(tmp_path):
    """A customer waits; a training does not mind."""
    trainer = next(p for p in programs(make(tmp_path)) if p.name == "trainer")

    assert ["nice", "-n", "10", sys.executable] == trainer.command[:4]
    assert "1" == trainer.command[trainer.command.index("-c") + 1]


def modules_named(words):
    """The modules that a command's words have Python or Celery run."""
    return [after for word, after in itertools.pairwise(words) if word in ("-m", "-A")]


def test_each_program_names_modules_and_files_that_exist(tmp_path):
    """A name in a string moves with nobody's import: it would be missed at the next start."""
    commands = [program.command for program in programs(make(tmp_path))]
    every = [module for command in commands for module in modules_named(command)]
    named = [module for module in every if not module.startswith("vllm.")]  # 8 s to look at
    files = [word for command in commands for word in command if word.endswith(".py")]

    assert {"bot.app", "workers.app", "celery"} == set(named)
    assert [] == [module for module in named if importlib.util.find_spec(module) is None]
    assert [] == [path for path in files if not Path(path).is_file()]
    assert files


def test_vllms_extension_exists():
    """vLLM imports it by its name in every worker."""
    module, name = LORA_EXTENSION.rsplit(".", 1)
    assert isinstance(getattr(importlib.import_module(module), name), type)


@pytest.mark.parametrize("path", ["compose.yaml", "migrations/schema.sql"])
def test_files_name_modules_that_exist(path):
    """What runs on a server is named in files that no import contract reads."""
    words = re.findall(r"[\w.-]+", (ROOT / path).read_text(encoding="utf-8"))
    ours = [module for module in modules_named(words) if "." in module]

    assert [] == [module for module in ours if importlib.util.find_spec(module) is None]
    assert ours


def test_a_process_stays_free_for_the_ticks(tmp_path):
    """Else two crawls and an evaluation would keep vLLM from being put right for hours."""
    settings = make(tmp_path)
    most = sum(kind.at_once for kind in kinds(settings).values() if kind.queue == JOBS)
    worker = next(p for p in programs(settings) if p.name == "worker").command
    composed = re.search(r'worker@ratchet, -c, "(\d+)"', (ROOT / "compose.yaml").read_text())

    assert most < int(worker[worker.index("-c") + 1])
    assert worker[worker.index("-c") + 1] == composed[1]


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", "it wrote nothing"),
        ("loading\nall done\n\n", "all done"),
        (
            "Traceback:\nValueError: no such model\nRuntimeError: failed\n",
            "ValueError: no such model",
        ),
        (
            "(EngineCore pid=7) ERROR 01-01 10:00:00 [core.py:1] OSError: bad file\nbye\n",
            "OSError: bad file",
        ),
        (
            "x.ValidationError: 1 error for Y:\n  needs Z\n",
            "x.ValidationError: 1 error for Y: needs Z",
        ),
        ("LOG: hm\npostgres: FATAL:  lock file exists\n", "postgres: FATAL:  lock file exists"),
    ],
)
def test_the_cause_is_found_in_a_log(tmp_path, log, expected):
    """One line instead of a traceback of two hundred."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "vllm.log").write_text(log)

    assert expected == last_words(make(tmp_path), "vllm")
