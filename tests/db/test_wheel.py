"""The wheel: all that git tracks in the rooms, and a product that works from any folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from core.settings import ROOT
from tests.unit.test_house import ROOMS, tracked_files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of what git tracks; the build leaves its traces there."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in tracked_files():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, source / path)
    run_pip("wheel", "--no-build-isolation", "--wheel-dir", built, source)
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of packages that the wheel was installed into."""
    target = tmp_path_factory.mktemp("site")
    run_pip("install", "--target", target, wheel)
    return target


def run_pip(command, *args):
    """Run pip without network and without dependencies."""
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pip", command, *quiet, *map(str, args)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr


def ratchet(installed, folder, *args, **env):
    """Run the installed command from another folder and return what it said."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RATCHET_")}
    done = subprocess.run(
        [str(installed / "bin" / "ratchet"), *args],
        env=own | {"PYTHONPATH": str(installed), "HOME": str(folder)} | env,
        cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_the_wheel_holds_what_git_tracks_in_the_rooms(wheel):
    """A style sheet that is left out is missed only on somebody else's machine."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert {str(path) for path in tracked_files() if path.parts[0] in ROOMS} == packed


def test_the_installed_command_works_from_any_folder(installed, tmp_path, empty_dsn):
    """Nothing of the checkout is needed: not its folder, not its tests, not its lock."""
    env = {"RATCHET_DATABASE_URL": empty_dsn}
    articles = installed / "examples" / "company" / "articles"

    assert "support chatbot" in ratchet(installed, tmp_path, "--help")
    assert "0001_initial.sql" in ratchet(installed, tmp_path, "migrate", **env)
    assert '"problems": []' in ratchet(
        installed, tmp_path, "ingest", str(articles), "--json", **env
    )


def test_an_installed_product_keeps_its_state_in_the_users_home(installed, tmp_path):
    """Not among the packages, and not wherever the command happened to be called."""
    code = "from core.settings import get_settings as g; print(g().home, g().company, g().model)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(installed), "HOME": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    home, company, model = map(Path, done.stdout.split())

    assert tmp_path / ".ratchet" == home
    assert (company / "guidelines.md").is_file()
    assert (model / "config.json").is_file()
