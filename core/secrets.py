"""The secrets of a home that strangers may have read are made anew, once."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from core.settings import Settings

# Up to 0.1 any visitor could read these two through the page (CHANGELOG: Security).
EXPOSED = ("admin-password", "session-secret")
MARKER = "secrets-renewed"  # holds the names of those that were, one a line
LOCK = "secrets-renewed.lock"
log = logging.getLogger("ratchet.secrets")


def renew_exposed(home: Path, given: Sequence[str] = ()) -> list[str]:
    """
    Forget the exposed secrets at the first start of a version that keeps them, and name them.

    They are then made anew at their first use: the admin's password is another one, and every
    visitor's cookie ends. A home made by this version, and a second start, lose nothing, also
    when both start at once. Of those `given` by the environment it is only said that they must
    be changed there.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(home):
        if (home / MARKER).exists():
            return []
        old = [name for name in EXPOSED if (home / name).exists()]
        for name in old:
            (home / name).unlink()
        _write_marker(home, old)
    if old:
        log.warning(
            "%s could be read by strangers before this version and were made anew; the new "
            "password is in %s",
            " and ".join(old),
            home / "admin-password",
        )
    if given:
        log.warning(
            "if a version before this one ran with them, change what the environment gives: %s",
            ", ".join(given),
        )
    return old


def renewed_names(home: Path) -> list[str]:
    """Return the names of the secrets that were made anew in this home."""
    marker = home / MARKER
    known = marker.read_text().split() if marker.exists() else []
    return [name for name in known if name in EXPOSED]


def given_by_environment(settings: Settings) -> list[str]:
    """Return the names under which the exposed secrets are given from outside."""
    fields = [name.replace("-", "_") for name in EXPOSED]
    return [f"RATCHET_{name.upper()}" for name in fields if getattr(settings, name)]


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Let one process at a time look and renew: a second would forget what the first made."""
    path = home / LOCK
    path.touch(mode=0o600)
    with path.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write_marker(home: Path, names: Sequence[str]) -> None:
    # Renamed into place whole: a marker without its names would hide that they were renewed.
    draft = home / f".{MARKER}"
    draft.touch(mode=0o600)
    draft.write_text("".join(f"{name}\n" for name in names))
    draft.replace(home / MARKER)
