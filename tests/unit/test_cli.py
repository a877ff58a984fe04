"""The command line: quick, one line per error, exit codes that programs can use."""

import json
import os
import subprocess
import sys

import pytest

from core.settings import ROOT

NOT_YET_IMPORTED = ("torch", "gradio", "celery", "psycopg", "pydantic", "rich")


def ratchet(*args, **env):
    """Run one command in a process of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RATCHET_")}
    return subprocess.run(
        [sys.executable, "-m", "cli", *args],
        env=kept | {f"RATCHET_{name.upper()}": str(value) for name, value in env.items()},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_imports_nothing_heavy():
    """A person who types --help wants an answer now."""
    code = f"import sys, cli; print([m for m in {NOT_YET_IMPORTED} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert "[]" == done.stdout.strip(), done.stderr


def test_every_door_is_in_the_help():
    """What isn't listed isn't found."""
    doors = "up down status doctor migrate ingest search ask rate import-feedback retrain adapters"
    text = ratchet("--help").stdout

    doors += " promote rollback eject jobs cancel sessions audit backup restore demo"
    assert [] == [door for door in doors.split() if door not in text]


def test_the_status_of_nothing_is_unhealthy(tmp_path):
    """A monitor reads the exit code and the object."""
    done = ratchet("status", "--json", home=tmp_path)
    found = json.loads(done.stdout)

    assert (1, False) == (done.returncode, found["healthy"])
    assert {"stopped"} == {service["state"] for service in found["services"]}
    expected = {"name", "state", "pid", "uptime_s", "restarts", "detail"}
    assert expected == set(found["services"][0])


def test_down_with_nothing_running_is_no_error(tmp_path):
    """Scripts call it to be sure."""
    done = ratchet("down", "--json", home=tmp_path)

    assert (0, False) == (done.returncode, json.loads(done.stdout)["was_running"])


@pytest.mark.parametrize(
    ("args", "env", "code", "line"),
    [
        (["up"], {"model": "/nowhere/model"}, 2, "the model folder /nowhere/model does not exist"),
        (["up"], {"home": "/" + "x" * 99}, 2, "too long for unix sockets"),
        (["up"], {"home": "/dev/null/home"}, 2, "can't be written to"),
        (["status"], {"web_port": "many"}, 2, "the setting RATCHET_WEB_PORT"),
        (["migrate"], {"database_url": "host=/nowhere"}, 4, "can't reach the database"),
        (["eval", "retrieval", "q.jsonl", "--against", "a=1"], {}, 9, "no search setting 'a'"),
        (["search", "shoes"], {"database_url": "host=/nowhere"}, 4, "can't be reached"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_code(tmp_path, args, env, code, line):
    """A traceback helps nobody who didn't write the program."""
    done = ratchet(*args, **{"home": tmp_path, **env})

    assert (code, 1) == (done.returncode, len(done.stderr.strip().splitlines())), done.stderr
    assert done.stderr.startswith("ratchet: ")
    assert line in done.stderr


def test_doctor_names_what_would_keep_up_from_working(tmp_path):
    """It says so before a start that takes half a minute does."""
    done = ratchet("doctor", "--json", home=tmp_path, model="/nowhere/model")
    problems = [c["problem"] for c in json.loads(done.stdout)["checks"] if c["name"] == "model"]

    assert 1 == done.returncode
    assert "set RATCHET_MODEL" in problems[0]
