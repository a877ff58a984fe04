"""A lease that a thread keeps alive while work goes on, and that says when the work must stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from core.errors import Cancelled, DatabaseError, LeaseLost

POLL_S = 1.0  # a cancelled job is to stop within two seconds
CHECK_EVERY_S = 0.3

Check = Callable[[], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


class HeldLease:
    """
    A context in which `renew` is called at least three times within the lease's length.

    When it raises LeaseLost or Cancelled, or Postgres was away for a whole lease, `on_lost` is
    called once from the thread: it must stop the work that can't call `check`, such as a child.
    """

    def __init__(self, renew: Callable[[], None], lease_s: float, name: str) -> None:
        self.on_lost: Callable[[], None] = lambda: None
        self._renew, self._lease_s = renew, lease_s
        self._done, self._why = threading.Event(), ""
        self._kind: type[LeaseLost] | type[Cancelled] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"lease-{name}", daemon=True)

    def __enter__(self) -> HeldLease:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def check(self) -> None:
        """
        Do nothing while the lease is held; costs nothing.

        Raises:
            LeaseLost: It is not held any more.
            Cancelled: Somebody asked for the work's end.
        """
        if self._kind is not None:
            raise self._kind(self._why)

    def _keep(self) -> None:
        renewed_s = time.monotonic()
        while not self._done.wait(min(POLL_S, self._lease_s / 3)):
            try:
                self._renew()
                renewed_s = time.monotonic()
            except DatabaseError:
                # Nobody takes the work over before the lease has run out.
                if time.monotonic() - renewed_s >= self._lease_s:
                    self._stop(LeaseLost("the database was away for a whole lease"))
                    return
            except (LeaseLost, Cancelled) as exc:
                self._stop(exc)
                return

    def _stop(self, exc: LeaseLost | Cancelled) -> None:
        if not self._done.is_set():
            self._why, self._kind = str(exc), type(exc)
            self.on_lost()


def wait_for(future: Future[Result], check: Check) -> Result:
    """Return the future's result; `check` is called all the while and may raise."""
    while True:
        check()
        try:
            return future.result(timeout=CHECK_EVERY_S)
        except TimeoutError:
            if future.done():  # the work itself ran into a time-out
                raise


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], n_threads: int, check: Check
) -> list[Result]:
    """
    Return `function(item)` for each item in order, computed in so many threads.

    When `check` or one of the calls raises, nobody waits for the calls that still go on.
    """
    threads = ThreadPoolExecutor(n_threads)
    try:
        futures = [threads.submit(function, item) for item in items]
        return [wait_for(future, check) for future in futures]
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
