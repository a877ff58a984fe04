"""Whether an answer is right: it holds the facts, and cites the article that they stand in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from core.citations import cited_numbers


def holds_facts(text: str, facts: Iterable[str]) -> bool:
    """
    Tell whether every fact stands in a text as words of its own, in any case.

    >>> holds_facts("It costs $60.", ["$6"]), holds_facts("Within  45 Days.", ["45 days"])
    (False, True)
    """
    flat = " ".join(text.split())
    # "$6" must not be found in "$60" or "$6.50", nor "45" in "1.45".
    patterns = (rf"(?<![\w$.]){re.escape(' '.join(f.split()))}(?!\w|[.,]\d)" for f in facts)
    return all(re.search(pattern, flat, re.IGNORECASE) for pattern in patterns)


def cites_right(answer: str, article: str, articles_shown: Sequence[str]) -> bool:
    """
    Tell whether an answer cites the right article and no other.

    `articles_shown` names the article of each passage shown, in the order of their numbers.
    Who cites every passage always cites the right one too: that is not counted as right.

    >>> shown = ["returns.md", "delivery.md", "returns.md"]
    >>> [cites_right(said, "returns.md", shown) for said in ("[1]", "[1, 3]", "[1-3]", "None")]
    [True, True, False, False]
    """
    numbers = cited_numbers(answer, range(1, len(articles_shown) + 1))
    return {articles_shown[number - 1] for number in numbers} == {article}
