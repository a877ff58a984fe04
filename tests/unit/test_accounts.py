"""Who may enter the desk."""

import time

import pytest
from starlette.requests import HTTPConnection

from bot.accounts import MAX_FAILURES, AdminDoor, ensure_visitor, is_admin, require_admin, sign_out
from core.errors import NotAllowed
from core.settings import Settings

PASSWORD = "open sesame, please"


@pytest.fixture
def clock():
    """Seconds that only pass when the test says so."""
    return [0.0]


@pytest.fixture
def door(tmp_path, clock):
    """A door with a known password."""
    return AdminDoor(settings_with(PASSWORD, tmp_path), clock=lambda: clock[0])


def settings_with(password, home):
    return Settings(home=home, admin_password=password, session_secret="s", _env_file=None)


def request_with(session):
    return HTTPConnection({"type": "http", "session": session})


def test_the_password_opens_the_desk(door):
    """And nothing but the password does."""
    session = {}
    ensure_visitor(session)

    door.sign_in(session, PASSWORD, "10.0.0.1")

    assert is_admin(session)
    assert session["visitor"] == str(require_admin(request_with(session)))


@pytest.mark.parametrize("given", ["", "open sesame", PASSWORD + " ", "\ud800"])
def test_another_password_does_not(door, given):
    """A near miss is a miss."""
    session = {}

    with pytest.raises(NotAllowed, match="not the password"):
        door.sign_in(session, given, "10.0.0.1")

    assert not is_admin(session)


def test_five_wrong_passwords_close_the_door_for_that_address(door, clock):
    """Guessing must be slow; others must not be locked out by it."""
    for _ in range(MAX_FAILURES):
        with pytest.raises(NotAllowed):
            door.sign_in({}, "guess", "10.0.0.1")

    with pytest.raises(NotAllowed, match="15 minutes"):
        door.sign_in({}, PASSWORD, "10.0.0.1")
    door.sign_in({}, PASSWORD, "10.0.0.2")
    clock[0] = 15 * 60 + 1
    door.sign_in({}, PASSWORD, "10.0.0.1")


def test_a_new_password_ends_old_sessions(door, tmp_path):
    """Changing it is what one does when the old one leaked."""
    session = {}
    door.sign_in(session, PASSWORD, "10.0.0.1")

    AdminDoor(settings_with("another one", tmp_path)).end_outdated(session)

    assert not is_admin(session)


def test_a_session_ends_after_twelve_hours(door):
    """A forgotten browser must not stay an admin for ever."""
    session = {}
    door.sign_in(session, PASSWORD, "10.0.0.1")

    session["admin_since"] = time.time() - 12 * 3600 - 1

    assert not is_admin(session)


def test_signing_out_keeps_the_visitor(door):
    """The admin's own conversations stay theirs."""
    session = {"visitor": "v"}
    door.sign_in(session, PASSWORD, "10.0.0.1")

    sign_out(session)

    assert {"visitor": "v"} == session


def test_a_visitor_is_not_an_admin():
    """Each handler of the desk asks this."""
    session = {}
    ensure_visitor(session)

    with pytest.raises(NotAllowed, match="sign in"):
        require_admin(request_with(session))
