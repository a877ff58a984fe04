"""Reads which of the passages shown an answer cites: `[1]`, `[1, 2]`, `[1][2]` and `[1-3]`."""

from __future__ import annotations

import re
from collections.abc import Container

_PART = r"[0-9]{1,3}(?: ?[-–] ?[0-9]{1,3})?"  # one passage, or from one to another
CITATION = re.compile(rf"\[({_PART}(?: *, *{_PART})*)\]")


def cited_numbers(text: str, shown: Container[int]) -> tuple[int, ...]:
    """
    Return the numbers of the passages that a text cites, each once, in the order of the text.

    A bracket that names any number beyond `shown`, like an opening time or a year, is plain
    text and cites nothing.

    >>> cited_numbers("Yes. [2] It is free [1, 2], as in [4] and [1, 4].", range(1, 4))
    (2, 1)
    """
    brackets = (numbers_in_bracket(found[1], shown) for found in CITATION.finditer(text))
    return tuple(dict.fromkeys(number for numbers in brackets for number in numbers))


def numbers_in_bracket(bracket: str, shown: Container[int]) -> tuple[int, ...]:
    """
    Return what stands between the brackets of one match of `CITATION`, ranges written out.

    Empty when it is no citation: a number was not shown, or a range runs backwards.

    >>> numbers_in_bracket("1, 3-5", range(1, 9)), numbers_in_bracket("3-1", range(1, 9))
    ((1, 3, 4, 5), ())
    """
    numbers: list[int] = []
    for part in bracket.replace("–", "-").split(","):
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if not span or any(number not in shown for number in span):
            return ()
        numbers += span
    return tuple(numbers)
