"""A lease says when work must stop; whoever waits for slow work hears of it at once."""

import threading
import time
from concurrent.futures import Future

import pytest

from core.errors import Cancelled, DatabaseUnavailable, LeaseLost
from core.leases import HeldLease, map_in_threads, wait_for


def failing_with(exc, times=None):
    """A renewal that fails, the first `times` times or always."""
    calls = []

    def renew():
        calls.append(exc)
        if times is None or len(calls) <= times:
            raise exc

    return renew


@pytest.mark.parametrize("exc", [LeaseLost("another has it"), Cancelled("cancelled by admin")])
def test_who_holds_a_lease_hears_that_it_ended(exc):
    """The work that can't ask is stopped, the other is refused at its next look."""
    stopped = threading.Event()
    with HeldLease(failing_with(exc), 0.03, "test") as lease:
        lease.on_lost = stopped.set
        assert stopped.wait(10)
        with pytest.raises(type(exc), match=str(exc)):
            lease.check()


def test_a_database_away_for_a_moment_loses_no_lease():
    """A restart of Postgres takes seconds; a training takes hours."""
    renewed = threading.Event()
    fail = failing_with(DatabaseUnavailable("restarting"), times=2)

    def renew():
        fail()
        renewed.set()

    with HeldLease(renew, 3.0, "test") as lease:
        assert renewed.wait(20)
        lease.check()


def test_a_database_away_for_a_whole_lease_loses_it():
    """Another worker may have the job by then."""
    stopped = threading.Event()
    lease = HeldLease(failing_with(DatabaseUnavailable("gone")), 0.3, "test")
    lease.on_lost = stopped.set
    with lease:
        assert stopped.wait(10)
        with pytest.raises(LeaseLost, match="a whole lease"):
            lease.check()


def test_results_come_in_the_order_of_what_was_asked():
    """Threads finish in any order."""
    done = map_in_threads(lambda n: n * n, range(20), 4, lambda: None)

    assert [n * n for n in range(20)] == done


def test_nobody_waits_for_slow_calls_once_the_work_is_to_stop():
    """Eight answers of a slow model server must not hold up a cancel."""
    released, asked = threading.Event(), []

    def slow(n):
        asked.append(n)
        released.wait(60)

    def check():
        if asked:
            raise Cancelled("cancelled by admin")

    begun_s = time.monotonic()
    with pytest.raises(Cancelled):
        map_in_threads(slow, range(100), 2, check)
    took_s = time.monotonic() - begun_s
    released.set()

    assert took_s < 2
    assert len(asked) <= 4


def test_a_call_that_times_out_itself_says_so():
    """The look every so often must not swallow the work's own time-out."""

    def late(_):
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        map_in_threads(late, [1], 1, lambda: None)


def test_waiting_returns_what_the_work_returns():
    """Also when it was over before anybody waited."""
    future = Future()
    future.set_result(7)

    assert 7 == wait_for(future, lambda: None)
