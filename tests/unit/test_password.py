"""The admin's password: right ones get in, wrong ones get slower."""

import asyncio

import pytest

from bot.web.password import MAX_WAITING, PasswordCheck, delay_s
from core.errors import Busy, NotAllowed
from core.settings import Settings

PASSWORD = "open sesame, please"
HERE, THERE = "203.0.113.7", "203.0.113.8"


@pytest.fixture
def slept():
    """The waits that were asked for; they cost no time."""
    return []


@pytest.fixture
def check(tmp_path, slept):
    """A check of a known password."""

    async def note(seconds):
        slept.append(seconds)

    settings = Settings(home=tmp_path, admin_password=PASSWORD, session_secret="s", _env_file=None)
    opened = PasswordCheck(settings, sleep=note)
    yield opened
    opened.close()


async def guess(check, n, address=HERE):
    for _ in range(n):
        with pytest.raises(NotAllowed, match="not the password"):
            await check.check("a guess", address)


@pytest.mark.parametrize("given", ["", "open sesame", PASSWORD + " ", "\ud800"])
async def test_only_the_password_is_the_password(check, given):
    """A near miss is a miss."""
    await check.check(PASSWORD, HERE)

    with pytest.raises(NotAllowed, match="not the password"):
        await check.check(given, HERE)


async def test_the_right_password_is_let_in_after_any_number_of_wrong_ones(check, slept):
    """Else whoever shares the admin's address locks the admin out."""
    await guess(check, 12)
    assert slept[-1] == delay_s(12) == 8.0
    slept.clear()

    await check.check(PASSWORD, HERE)

    assert [] == slept


async def test_wrong_passwords_slow_down_their_own_address_only(check, slept):
    """Guessing must be slow; others must not feel it."""
    await guess(check, 6)

    await guess(check, 1, THERE)

    assert [0, 0, 0, 0.25, 0.5, 1.0, 0] == slept


async def test_all_addresses_of_one_home_count_as_one(check, slept):
    """An IPv6 connection comes with more addresses than there are passwords."""
    for n in range(5):
        await guess(check, 1, f"2001:db8:1:2{n:02x}::{n:x}")

    assert 0.5 == slept[-1]


async def test_a_success_forgets_the_typing_errors_before_it(check, slept):
    """Three of them today and one tomorrow are no attack."""
    await guess(check, 5)
    await check.check(PASSWORD, HERE)
    await guess(check, 1)

    assert 0 == slept[-1]


async def test_eight_right_ones_at_once_are_all_let_in(check):
    """A browser that restores its windows sends them together."""
    tries = (check.check(PASSWORD, HERE) for _ in range(8))

    assert [None] * 8 == await asyncio.gather(*tries)


async def test_a_flood_of_tries_is_turned_away(check):
    """Each waiting try holds memory and a connection."""
    released = asyncio.Event()

    async def wait(_):
        await released.wait()

    check._sleep = wait
    tries = [asyncio.create_task(check.check("a guess", HERE)) for _ in range(MAX_WAITING + 5)]
    done, waiting = await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 5:
        more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        done |= more

    await check.check(PASSWORD, HERE)  # let in all the same
    released.set()
    ended = await asyncio.gather(*tries, return_exceptions=True)

    assert 5 == sum(isinstance(each, Busy) for each in ended)
