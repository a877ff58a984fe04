"""The desk's sessions: guessed at, copied, kept after sign-out; and what is left in the log."""

import asyncio
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from bot.settings_log import SECRET, note_settings
from cli.asking import OPERATOR_ID
from core.audit import Action, list_entries
from core.secrets import given_by_environment, renew_exposed
from core.sessions import list_sessions
from core.settings import ROOT, Settings
from tests.builders import make_turn
from tests.web import PASSWORD


def sign_in(web, password=PASSWORD, **headers):
    """One try of a password."""
    return httpx.post(
        f"{web.url}/desk/login", data={"password": password}, headers=headers, timeout=60
    )


def actions(web, n=1):
    """The newest lines of the audit log."""
    with web.database.connect() as conn:
        sql = "SELECT actor, action FROM audit_log ORDER BY id DESC LIMIT %s"
        return conn.execute(sql, (n,)).fetchall()


def test_five_wrong_passwords_do_not_lock_the_right_one_out(web):
    """Whoever shares the admin's address could shut the desk for good."""
    for _ in range(5):
        assert 403 == sign_in(web, "guess").status_code

    assert 303 == sign_in(web).status_code


def test_another_claimed_address_does_not_escape_the_count(web):
    """Each made-up X-Forwarded-For was an address of its own."""
    for n in range(4):
        sign_in(web, "guess", **{"x-forwarded-for": f"198.51.100.{n}"})
    with web.database.connect() as conn:
        counted = conn.execute(
            "SELECT DISTINCT subject FROM audit_log WHERE action = 'sign-in refused'"
            " AND subject LIKE '198.51.100.%%' AND subject <> '198.51.100.9'"
        ).fetchall()

    assert [] == counted
    assert 303 == sign_in(web).status_code


def test_eight_right_passwords_at_once_are_eight_sessions(web):
    """Two browsers that restore their windows got an error page."""
    with ThreadPoolExecutor(8) as threads:
        codes = list(threads.map(lambda _: sign_in(web).status_code, range(8)))

    assert [303] * 8 == codes


def test_a_copied_cookie_is_worth_nothing_after_sign_out(admin, nobody):
    """The signature of a cookie does not age; the row behind it ends."""
    thief = nobody()
    thief.cookies = httpx.Cookies(dict(admin.cookies))
    assert 200 == thief.get("/desk/").status_code

    assert 303 == admin.post("/desk/logout").status_code

    assert 401 == thief.get("/desk/").status_code
    assert 401 == thief.call(0, page="/desk").status_code


def test_a_link_signs_nobody_out(admin):
    """Any page may hold a picture of that address."""
    assert 404 == admin.get("/desk/logout").status_code
    assert 200 == admin.get("/desk/").status_code


def test_a_session_can_be_ended_by_another(admin, web):
    """A lost laptop is not at hand to sign out."""
    with web.database.connect() as conn:
        newest = list_sessions(conn)[0]
        conn.execute("UPDATE sessions SET ended_at = now() WHERE id = %s", (newest.id,))

    assert 401 == admin.get("/desk/").status_code


def test_an_expired_session_is_over(admin, web):
    """Twelve hours, whatever the cookie says."""
    with web.database.connect() as conn:
        newest = list_sessions(conn)[0]
        conn.execute(
            "UPDATE sessions SET expires_at = created_at + interval '1 ms' WHERE id = %s",
            (newest.id,),
        )

    assert 401 == admin.get("/desk/").status_code


def test_a_forged_session_id_is_nobodys(visitor):
    """The cookie is signed; its content is not for the browser to choose."""
    cookie = visitor.cookies["ratchet"]
    visitor.cookies = httpx.Cookies({"ratchet": cookie[:-4] + "AAAA"})

    assert 401 == visitor.get("/desk/").status_code


def test_who_signed_in_and_out_stands_in_the_log(admin, web):
    """Nobody could tell who had done what."""
    admin.post("/desk/logout")
    sign_in(web, "guess")

    # Refusals of tests before may still come in: they are answered late.
    newest = actions(web, 40)
    assert ["signed out", "signed in"] == [what for who, what in newest if who == "admin"][:2]
    assert ("somebody", "sign-in refused") in newest


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET actor = 'nobody'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
    ],
)
def test_the_log_is_only_ever_appended_to(web, statement):
    """An attacker's first deed would be to take the line out, and an admin's second thought too."""
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"),
        web.database.connect() as conn,
    ):
        conn.execute(statement)


def test_what_is_done_at_the_command_line_stands_in_the_log(database, dsn, tmp_path):
    """Whoever has a shell decides what is learned, and is asked about it like an admin."""
    article = tmp_path / "returns.md"
    article.write_text("# Returns\n\nWithin 30 days.\n")
    with database.connect() as conn:
        turn = make_turn(conn, owner_id=OPERATOR_ID)
    env = os.environ | {"RATCHET_HOME": str(tmp_path / "home"), "RATCHET_DATABASE_URL": dsn}
    for command in (
        ["retrain"],
        ["rate", str(turn.id), "down", "--correction", "Within 30 days. [1]"],
        ["ingest", str(article), "--audience", "staff"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "cli", *command], cwd=ROOT, env=env, capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip
        assert 0 == done.returncode, done.stderr

    with database.connect() as conn:
        entries = list_entries(conn)
    deeds = [Action.INGEST_REQUESTED, Action.ANSWER_PREFERRED, Action.TRAINING_REQUESTED]
    assert deeds == [entry.action for entry in entries]
    assert {"command line"} == {entry.actor for entry in entries}
    assert {"sources": [str(article)], "audience": "staff"} == entries[0].details
    assert str(turn.id) == entries[1].subject


def test_exposed_secrets_are_made_anew_at_the_first_start_only(tmp_path):
    """They could be read by anybody; those made since could not."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("admin-password", "session-secret"):
        (home / name).write_text("known to strangers")
    settings = Settings(home=home, _env_file=None)

    assert ["admin-password", "session-secret"] == renew_exposed(home)
    kept = settings.secret("admin-password")
    assert [] == renew_exposed(home)

    assert kept == settings.secret("admin-password") != "known to strangers"
    assert 0o600 == stat.S_IMODE((home / "admin-password").stat().st_mode)


def test_secrets_of_the_environment_are_named_to_be_changed_there(tmp_path, caplog):
    """We can't change them, and a server has them from there."""
    settings = Settings(home=tmp_path, admin_password="known", _env_file=None)

    assert [] == renew_exposed(settings.home, given_by_environment(settings))
    assert [] == renew_exposed(settings.home, given_by_environment(settings))

    [line] = [record.getMessage() for record in caplog.records]
    assert "RATCHET_ADMIN_PASSWORD" in line
    assert "known" not in line


def test_secrets_of_a_new_home_are_left_alone(tmp_path):
    """The first start makes them; the second must find the same."""
    settings = Settings(home=tmp_path / "home", _env_file=None)
    assert [] == renew_exposed(settings.home)
    made = settings.secret("session-secret")

    assert [] == renew_exposed(settings.home)
    assert made == settings.secret("session-secret")


def test_two_first_starts_at_once_renew_once(tmp_path):
    """The second would forget what the first has just made, and the first goes on with it."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "session-secret").write_text("known to strangers")

    def start(_):
        renewed = renew_exposed(home)
        return renewed, Settings(home=home, _env_file=None).secret("session-secret")

    with ThreadPoolExecutor(8) as pool:
        starts = list(pool.map(start, range(8)))

    assert [["session-secret"]] == [renewed for renewed, _ in starts if renewed]
    assert 1 == len({secret for _, secret in starts})


def test_renewed_secrets_stand_in_the_log_once(settings, database):
    """Who wonders why everybody had to sign in again finds it there."""
    settings.home.mkdir()
    (settings.home / "admin-password").write_text("known to strangers")
    renew_exposed(settings.home)
    for _ in range(2):
        note_settings(database, settings)

    with database.connect() as conn:
        entries = list_entries(conn)
    renewed = [e.subject for e in entries if e.action is Action.SECRETS_RENEWED]
    assert ["admin-password"] == renewed


def test_a_changed_setting_stands_in_the_log_a_secret_one_without_its_value(settings, database):
    """A longer answer and another password are both news; only one of them may be read."""
    changes = (
        {"max_answer_tokens": 99},
        {"admin_password": "hidden"},
        {"vllm_url": "http://u:hidden@v"},
    )
    note_settings(database, settings)
    for change in changes:
        settings = settings.model_copy(update=change)
        note_settings(database, settings)
        note_settings(database, settings)

    with database.connect() as conn:
        entries = list_entries(conn)
    assert ["vllm_url", "admin_password", "max_answer_tokens", "first start"] == [
        e.subject for e in entries
    ]
    assert "hidden" not in str(entries)
    assert "99" == entries[0].details["settings"]["max_answer_tokens"]


def test_every_setting_that_sounds_secret_is_one_or_known_not_to_be():
    """A new secret must not be written into the log because nobody thought of it."""
    telling = ("password", "secret", "key", "token", "url")
    sounding = {n for n in Settings.model_fields if any(word in n for word in telling)}

    assert {"chunk_tokens", "max_answer_tokens"} == sounding - SECRET
    assert set() == SECRET - set(Settings.model_fields)


async def test_hashing_does_not_take_the_pages_threads(web):
    """A flood of tries is slow for itself only."""
    async with httpx.AsyncClient(base_url=web.url, timeout=60) as client:
        tries = [
            asyncio.create_task(client.post("/desk/login", data={"password": "guess"}))
            for _ in range(15)
        ]
        async with asyncio.timeout(10):
            assert 200 == (await client.get("/style.css")).status_code
        for each in tries:
            each.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
