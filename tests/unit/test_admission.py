"""How many answers are written at once."""

import asyncio
from uuid import uuid4

import pytest

from bot.web.admission import Admission
from bot.web.listeners import GONE_AFTER_S, MAX_STREAMS_PER_VISITOR, Listeners
from core.errors import Busy
from core.settings import Settings
from tests.builders import ANNA, BEN

HERE, THERE = "203.0.113.7", "203.0.113.8"


def make(**changed):
    return Admission(Settings(_env_file=None, **changed))


async def seat(ticket):
    """Wait for the seat and return the places told on the way."""
    return [place async for place in ticket.places()]


async def test_a_visitor_has_two_answers_at_a_time():
    """Another window may ask as well; a script may not ask for all."""
    admission = make()
    first, _ = admission.enter(ANNA, HERE), admission.enter(ANNA, THERE)

    with pytest.raises(Busy, match="still being written"):
        admission.enter(ANNA, HERE)
    admission.enter(BEN, HERE)
    first.leave()
    admission.enter(ANNA, HERE)


async def test_cookies_made_at_will_do_not_get_more_from_one_address():
    """A visitor costs nothing to become; an address does."""
    admission = make(max_answers_per_address=3)
    for _ in range(3):
        admission.enter(uuid4(), HERE)

    with pytest.raises(Busy, match=r"your network just now; try again in \d+ s"):
        admission.enter(uuid4(), HERE)
    admission.enter(uuid4(), THERE)


async def test_who_has_no_seat_waits_and_is_told_the_place():
    """Anything that a person waits for shows how long."""
    admission = make(max_answers=1)
    first, second, third = (admission.enter(uuid4(), f"203.0.113.{n}") for n in range(3))
    assert [] == await seat(first)
    waiting = second.places(), third.places()
    assert [0, 1] == [await anext(each) for each in waiting]

    first.leave()

    assert [] == [place async for place in waiting[0]]
    assert second.seated_at is not None
    assert third.seated_at is None


async def test_the_queue_is_bounded_and_says_when_to_come_again():
    """A clear no at once is better than an answer in ten minutes."""
    admission = make(max_answers=1, max_answers_waiting=1)
    first, second = (admission.enter(uuid4(), f"203.0.113.{n}") for n in range(2))
    await seat(first)
    await anext(second.places())

    with pytest.raises(Busy, match=r"try again in \d+ s") as refused:
        admission.enter(uuid4(), THERE)

    assert refused.value.retry_after_s >= 1


async def test_a_place_left_while_waiting_is_free_again():
    """Who closes the window in the queue holds nobody up."""
    admission = make(max_answers=1)
    first, second, third = (admission.enter(uuid4(), f"203.0.113.{n}") for n in range(3))
    await seat(first)
    line = [second.places(), third.places()]
    for each in line:
        await anext(each)

    second.leave()
    first.leave()

    assert [] == [place async for place in line[1]]
    third.leave()
    assert [] == await seat(admission.enter(ANNA, HERE))


async def test_a_window_whose_stream_ends_is_gone_in_less_than_two_seconds():
    """Nobody reads its answer any more."""
    listeners = Listeners()
    with listeners.listening("w", "anna", HERE):
        assert await listeners.arrived("w")
        watch = asyncio.create_task(listeners.gone("w"))
        await asyncio.sleep(0)
        assert not watch.done()

    async with asyncio.timeout(2):
        await watch


async def test_a_stream_is_heard_of_by_every_question_of_its_window():
    """One that gave up waiting before must not keep the news from the other."""
    listeners = Listeners()
    gave_up, still_there = (asyncio.create_task(listeners.arrived("w")) for _ in range(2))
    await asyncio.sleep(0)
    gave_up.cancel()
    await asyncio.gather(gave_up, return_exceptions=True)

    with listeners.listening("w", "anna", HERE):
        assert await still_there


async def test_a_window_may_change_its_stream():
    """The page closes one stream and opens the next for each question."""
    listeners = Listeners()
    with listeners.listening("w", "anna", HERE):
        pass
    watch = asyncio.create_task(listeners.gone("w"))
    with listeners.listening("w", "anna", HERE), pytest.raises(TimeoutError):
        async with asyncio.timeout(GONE_AFTER_S + 0.5):
            await watch


async def test_one_visitor_does_not_hold_all_connections_open():
    """Streams are connections, and those are bounded for all."""
    listeners = Listeners()
    opened = [listeners.listening(f"w{n}", "anna", HERE) for n in range(MAX_STREAMS_PER_VISITOR)]
    for each in opened:
        each.__enter__()

    with pytest.raises(Busy, match="too many windows"), listeners.listening("x", "anna", HERE):
        pass
    with listeners.listening("y", "ben", HERE):
        pass
