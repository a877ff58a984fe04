"""One tree of errors; every message says what happened, to which id, and what to do."""

from __future__ import annotations


class RatchetError(Exception):
    """Base of all errors a person may see; its text is one clear line."""

    exit_code = 1
    may_pass = False  # whether the same work, tried again later, may well succeed


class ConfigurationError(RatchetError):
    """A setting, path or port is unusable; nothing was started."""

    exit_code = 2


class StackError(RatchetError):
    """A process of the local stack did not start, stop or answer."""

    exit_code = 3


class DatabaseError(RatchetError):
    """Postgres did not do what was asked; the transaction was rolled back."""

    exit_code = 4
    may_pass = True


class DatabaseUnavailable(DatabaseError):
    """Postgres could not be reached, or the connection was lost."""


class DatabaseConflict(DatabaseError):
    """Another transaction changed the same rows at the same time; trying again helps."""


class DatabaseFull(DatabaseError):
    """Postgres has no disk space or memory left; an operator must make room."""


class DatabaseTimeout(DatabaseError):
    """Postgres ended a statement: it ran or waited for a lock too long, or was cancelled."""


class ModelUnavailable(RatchetError):
    """The vLLM server could not be reached or broke off."""

    exit_code = 5
    may_pass = True


class MigrationError(RatchetError):
    """A migration is missing, changed or failed; its name is in the text."""

    exit_code = 6


class NotFound(RatchetError):
    """No row has this id, or it is not the asker's to see."""

    exit_code = 7


class TurnNotFound(NotFound):
    """No turn has this id, or it belongs to somebody else."""


class NotAllowed(RatchetError):
    """The asker lacks the role for this."""

    exit_code = 8


class Busy(RatchetError):
    """Too much is asked for at once, or by one person; the text says when to come again."""

    exit_code = 13

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class InvalidInput(RatchetError):
    """What was sent can't be used; the text says which part and why."""

    exit_code = 9


class DocumentError(InvalidInput):
    """One file can't be ingested; the others go on."""


class AdapterError(RatchetError):
    """An adapter's files are corrupt, unsafe or of the wrong shape."""

    exit_code = 10


class TrainingError(RatchetError):
    """A training run can't go on; the run's row says why."""

    exit_code = 11


class LeaseLost(RatchetError):
    """Another worker holds this job now; the caller must stop without writing."""


class Cancelled(RatchetError):
    """Somebody asked for the end of this job; the caller must stop without writing."""


class EmbeddingError(RatchetError):
    """The embedding model is missing or its dimension differs from the column's."""

    exit_code = 12
