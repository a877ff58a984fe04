"""Keeps a run's lease alive in a thread while the work goes on, and says when it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from uuid import UUID

from core import learning
from core.db import Database
from core.errors import DatabaseError, LeaseLost


class HeldLease:
    """
    A context in which a lease is renewed three times as often as it would run out.

    When another worker has it, or Postgres was away for a whole lease, `on_lost` is called
    once from the thread: it must stop the work that can't see Postgres, such as a child.
    """

    def __init__(self, db: Database, run_id: UUID, token: int, lease_s: float) -> None:
        self.run_id, self.token = run_id, token
        self.on_lost: Callable[[], None] = lambda: None
        self._db, self._lease_s = db, lease_s
        self._done, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{run_id}", daemon=True)

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
        Do nothing while the lease is held.

        Raises:
            LeaseLost: It is not any more.
        """
        if self._lost.is_set():
            raise LeaseLost(f"run {self.run_id} is no longer held under token {self.token}")

    def _beat(self) -> None:
        renewed_s = time.monotonic()
        while not self._done.wait(self._lease_s / 3):
            try:
                with self._db.connect() as conn:
                    learning.renew_lease(conn, self.run_id, self.token, self._lease_s)
                renewed_s = time.monotonic()
            except DatabaseError:
                if time.monotonic() - renewed_s < self._lease_s:
                    continue
                self._lose()
                return
            except LeaseLost:
                self._lose()
                return

    def _lose(self) -> None:
        if not self._done.is_set():
            self._lost.set()
            self.on_lost()
