"""Text that strangers write, made such that Postgres can hold it."""

from __future__ import annotations


def storable_text(text: str) -> str:
    """
    Return `text` without NUL and lone surrogates, which Postgres refuses.

    >>> storable_text("a\\0b"), storable_text("\\ud800")
    ('ab', '?')
    """
    return text.replace("\0", "").encode("utf-8", "replace").decode()
