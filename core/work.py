"""A job in its handler's hands: how it tells how far it is, and goes on from finished phases."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from psycopg import Connection

from core.db import Database
from core.jobs import Job, claim_job, finish_phase, report_progress
from core.leases import HeldLease
from core.settings import Settings

REPORT_EVERY_S = 0.5


class HeldJob:
    """
    A job whose lease is held while the block runs.

    A phase writes its rows and calls `leave` in one transaction: then it is done once, however
    often the job is tried. Everything written through here is refused once the lease is lost
    or somebody asked for the job's end: it raises LeaseLost or Cancelled.
    """

    def __init__(self, db: Database, job: Job, lease_s: float) -> None:
        self.db, self.job = db, job
        self.lease = HeldLease(self._renew, lease_s, str(job.id))
        self._lease_s, self._reported_s = lease_s, 0.0

    def __enter__(self) -> Self:
        self.lease.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lease.__exit__(kind, exc, trace)

    def check(self) -> None:
        """Raise LeaseLost or Cancelled when the work is to stop; costs nothing."""
        self.lease.check()

    def enter(self, phase: str, message: str = "") -> None:
        """Say that a phase begins; what it left before, if it did, is `left(phase)`."""
        with self.db.connect() as conn:
            report_progress(conn, self.job, self._lease_s, {"message": message}, phase=phase)

    def left(self, phase: str) -> dict[str, Any] | None:
        """Return what the phase left in an attempt before; None when it is to be carried out."""
        return self.job.phases.get(phase)

    def leave(self, conn: Connection[Any], phase: str, **left: Any) -> dict[str, Any]:
        """Store what the phase leaves, in the transaction of its other rows, and return it."""
        finish_phase(conn, self.job, phase, left)
        return left

    def report(self, **progress: Any) -> None:
        """Store how far the job is."""
        with self.db.connect() as conn:
            self.report_with(conn, **progress)

    def report_with(self, conn: Connection[Any], **progress: Any) -> None:
        """Store how far the job is, and fence what else is written in this transaction."""
        report_progress(conn, self.job, self._lease_s, progress)

    def count(self, n_done: int, n_total: int, path: str) -> None:
        """Store that so many of so many are done, a few times a second at most."""
        self.check()
        if n_done < n_total and time.monotonic() - self._reported_s < REPORT_EVERY_S:
            return
        self.report(done=n_done, total=n_total, path=path)
        self._reported_s = time.monotonic()

    def _renew(self) -> None:
        with self.db.connect() as conn:
            report_progress(conn, self.job, self._lease_s)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job: what carries one out, on which queue, how many at once, how often tried."""

    name: str
    handler: Callable[[HeldJob, Settings], dict[str, Any]]  # returns the job's result
    queue: str
    at_once: int
    max_attempts: int

    def claim(self, conn: Connection[Any], lease_s: float) -> Job | None:
        """Take the oldest job of this kind that may begin now, if there is one."""
        return claim_job(
            conn,
            self.name,
            at_once=self.at_once,
            max_attempts=self.max_attempts,
            lease_s=lease_s,
        )
