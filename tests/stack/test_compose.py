"""compose.yaml is whole, closed to the outside, and each of its services runs and is healthy."""

import re

import pytest

from core.settings import ROOT, Settings
from tests.stack.compose import Stage, interpolate, read_compose, running_postgres
from tests.web import free_port

SECRETS = re.findall(r"^(\w+)=$", (ROOT / ".env.example").read_text(), re.MULTILINE)
ENV = {name: f"test{number}secret" for number, name in enumerate(SECRETS)}
APP = ("vllm", "web", "worker", "trainer", "beat", "migrate", "maintenance")


@pytest.fixture(scope="module")
def spec():
    """compose.yaml with the secrets of .env.example filled in."""
    return read_compose(ENV)


def test_the_file_holds_every_service(spec):
    """What the README promises for a server."""
    assert {"postgres", "redis", *APP} == set(spec["services"])


@pytest.mark.parametrize("name", SECRETS)
def test_each_secret_must_be_given(name):
    """A server with a default password is everybody's."""
    with pytest.raises(LookupError, match=name):
        read_compose({key: value for key, value in ENV.items() if key != name})


def test_no_secret_stands_in_the_file():
    """Whatever is in the repository is public."""
    text = interpolate((ROOT / "compose.yaml").read_text(), ENV)
    used = re.findall(r"(?:PASSWORD|KEY|SECRET)\w*: *(?:&\S+ +)?([^\s*]\S*)", text)

    assert used
    assert set(used) <= set(ENV.values())


def test_only_the_page_is_published(spec):
    """vLLM guards only some of its routes; the database and the broker are nobody's business."""
    assert ["web"] == [name for name, body in spec["services"].items() if body.get("ports")]
    assert ["127.0.0.1:7860:7860"] == spec["services"]["web"]["ports"]
    assert spec["networks"]["private"]["internal"]
    for name in ("postgres", "redis", "migrate", "maintenance", "beat"):
        assert ["private"] == spec["services"][name]["networks"]


def test_adapters_are_one_volume_for_who_writes_and_who_serves(spec):
    """vLLM reads an adapter from the very path under which it was registered."""
    mounts = {name: spec["services"][name]["volumes"] for name in ("vllm", "web", "trainer")}

    assert "adapters:/adapters:ro" in mounts["vllm"]
    assert all("adapters:/adapters" in mounts[name] for name in ("web", "trainer"))


def test_everything_that_stays_up_has_a_health_check(spec):
    """Without one a hung service is never noticed."""
    unchecked = [name for name, s in spec["services"].items() if not s.get("healthcheck")]

    assert {"migrate", "maintenance"} == set(unchecked)
    assert ["maintenance"] == spec["services"]["maintenance"]["profiles"]


def test_the_environment_speaks_of_real_settings(spec):
    """A setting that was renamed would be ignored without a word."""
    known = {f"RATCHET_{name.upper()}" for name in Settings.model_fields}
    used = {key for name in APP for key in spec["services"][name]["environment"]}

    assert set() == {key for key in used if key.startswith("RATCHET_")} - known


def test_the_image_holds_what_the_commands_need():
    """The Dockerfile names files of this repository and the lock that it installs."""
    text = (ROOT / "Dockerfile").read_text()

    assert "ARG LOCK=requirements.lock" in text
    assert "./setup.sh" in text
    assert (ROOT / "setup.sh").stat().st_mode & 0o111


@pytest.fixture
def stage(spec, tmp_path):
    """The services' stage: their network is this machine's loopback."""
    redis, vllm, web = free_port(), free_port(), free_port()
    folders = ("data", "state", "adapters", "models", "beat")
    for name in (*folders, "run"):
        (tmp_path / name).mkdir()
    with running_postgres(spec) as port:
        replaced = {
            "@postgres:5432": f"@127.0.0.1:{port}",
            "@redis:6379": f"@127.0.0.1:{redis}",
            "6379": str(redis),
            "//vllm:8001": f"//127.0.0.1:{vllm}",
            "127.0.0.1:8001": f"127.0.0.1:{vllm}",
            "127.0.0.1:7860": f"127.0.0.1:{web}",
            "0.0.0.0": "127.0.0.1",
            "/app/": f"{ROOT}/",
            "/run/redis": str(tmp_path / "run"),
            **{f"/{name}": str(tmp_path / name) for name in folders},
        }
        ports = {"RATCHET_VLLM_PORT": str(vllm), "RATCHET_WEB_PORT": str(web)}
        found = Stage(spec, tmp_path, replaced, ports | {"PGPORT": str(port)})
        yield found
        found.stop()


def test_every_service_runs_and_is_healthy(stage):
    """The one rehearsal of a server that needs no Docker: its own commands, env and checks."""
    stage.wait_until_healthy("postgres", within_s=30)
    stage.start("redis")
    stage.wait_until_healthy("redis", within_s=30)
    stage.run("migrate")
    stage.start("vllm")
    for name in ("web", "worker", "trainer", "beat"):
        stage.start(name)

    for name in ("vllm", "web", "worker", "trainer", "beat"):
        stage.wait_until_healthy(name, within_s=240)

    # Every user of a machine can read the arguments of all its processes.
    arguments = "\n".join(stage.arguments())
    assert "vllm" in arguments
    assert [] == [name for name, secret in ENV.items() if secret in arguments]
