"""What would keep a stack from starting is said in one line, with the setting to change."""

import shutil
import socket

import pytest

from core.errors import ConfigurationError
from core.settings import Settings
from stack import checks


@pytest.fixture
def model(tmp_path):
    """A folder that looks like a model."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def make(tmp_path, model):
    """Settings that nothing is wrong with, but for what is passed."""

    def make(**changed):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        sound = {"home": tmp_path / "home", "model": str(model), "web_port": port}
        return Settings(**{**sound, **changed}, _env_file=None)

    return make


def test_sound_settings_may_start(make):
    """The checks must not stand in the way of a good start."""
    settings = make()
    checks.require_home(settings)
    checks.require_startable(settings)

    assert 0o700 == settings.home.stat().st_mode & 0o777


def test_a_taken_port_is_named_with_its_setting(make):
    """The commonest way for a start to fail."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]

        with pytest.raises(ConfigurationError, match=rf"port {number} .*set RATCHET_WEB_PORT"):
            checks.require_startable(make(web_port=number))


def test_a_missing_model_folder_is_named(make, tmp_path):
    """vLLM would take half a minute to say the same in two hundred lines."""
    with pytest.raises(ConfigurationError, match=r"nowhere does not exist; set RATCHET_MODEL"):
        checks.require_startable(make(model=str(tmp_path / "nowhere")))


def test_a_folder_without_config_is_no_model(make, model):
    """A wrong folder is as common as a missing one."""
    (model / "config.json").unlink()

    with pytest.raises(ConfigurationError, match=r"has no config\.json"):
        checks.require_startable(make())


def test_a_hub_name_is_left_to_vllm(make):
    """Where a hub can be reached a name is enough."""
    assert checks.require_startable(make(model="Qwen/Qwen3-0.6B")) is None


def test_a_full_disk_is_said_before_anything_starts(make, monkeypatch):
    """A database on a full disk dies in worse ways."""
    usage = shutil.disk_usage("/")._replace(free=200 * 2**20)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage)

    with pytest.raises(ConfigurationError, match=r"only 0\.2 GiB are free"):
        checks.require_startable(make())


def test_a_home_too_long_for_sockets_is_explained(make, tmp_path):
    """Postgres would fail with a message about a path it shortened itself."""
    with pytest.raises(ConfigurationError, match="too long for unix sockets"):
        checks.require_home(make(home=tmp_path / ("x" * 90)))


def test_an_unwritable_home_is_named(make, tmp_path):
    """Someone else's folder, a read-only disk, a file in the way: the same line."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match=r"file/home can't be written to \(.+\); set RATC"):
        checks.require_home(make(home=tmp_path / "file" / "home"))


def test_the_doctor_looks_at_everything(make):
    """One table for a person who asks for help."""
    found = {check.name for check in checks.run_checks(make(), is_running=False)}

    assert {"home path", "home folder", "disk", "model", "python", "packages"} <= found
    assert {"memory", "GPU", "web port"} <= found


def test_our_own_ports_are_no_problem_while_we_run(make):
    """The doctor is asked about a running stack as well."""
    names = {check.name for check in checks.run_checks(make(), is_running=True)}

    assert not names & {"web port", "vLLM port"}
