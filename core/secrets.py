"""The secrets of a home that strangers may have read are made anew, once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from core.settings import Settings

# Up to 0.1 any visitor could read these two through the page (CHANGELOG: Security).
EXPOSED = ("admin-password", "session-secret")
MARKER = "secrets-renewed"
log = logging.getLogger("ratchet.secrets")


def renew_exposed(home: Path, given: Sequence[str] = ()) -> list[str]:
    """
    Forget the exposed secrets at the first start of a version that keeps them, and name them.

    They are then made anew at their first use: the admin's password is another one, and every
    visitor's cookie ends. A home made by this version, and a second start, lose nothing. Of
    those `given` by the environment it is only said that they must be changed there.
    """
    marker = home / MARKER
    if marker.exists():
        return []
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    old = [name for name in EXPOSED if (home / name).exists()]
    for name in old:
        (home / name).unlink(missing_ok=True)
    marker.touch(mode=0o600)
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


def given_by_environment(settings: Settings) -> list[str]:
    """Return the names under which the exposed secrets are given from outside."""
    fields = [name.replace("-", "_") for name in EXPOSED]
    return [f"RATCHET_{name.upper()}" for name in fields if getattr(settings, name)]
