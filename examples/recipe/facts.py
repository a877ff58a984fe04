"""Invented help centres: fact templates filled with random values, and questions on them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from . import names

SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Fact:
    """One thing a help article may say, in several wordings, with questions on it."""

    headings: tuple[str, ...]
    sentences: tuple[str, ...]
    questions: tuple[str, ...]
    follow_ups: tuple[str, ...]

    def answering(self, question: str) -> tuple[str, ...]:
        """Return the wordings that hold what the question asks for."""
        for asked, needed in asked_kinds():
            if re.search(asked, question.lower()):
                return tuple(s for s in self.sentences if re.search(needed, s))
        return self.sentences


@dataclass
class Filling:
    """The values of one article: the same slot is the same value, until it is renewed."""

    rng: random.Random
    company: str
    values: dict[str, str] = field(default_factory=dict)

    def fill(self, template: str) -> str:
        """Return the template with every slot filled; money and numbers are drawn anew."""

        def value(match: re.Match[str]) -> str:
            slot = match.group(1)
            if slot == "shop":
                return self.company
            if slot not in self.values:
                self.values[slot] = self._draw(slot)
            return self.values[slot]

        filled = SLOT.sub(value, template)
        for slot in list(self.values):
            if slot not in STABLE:
                del self.values[slot]
        return filled

    def _draw(self, slot: str) -> str:
        base = slot.lower().removeprefix("a_")
        family = FAMILIES.get(base)
        if family:
            noun = self._noun(family, base)
            text = names.plural(noun) if base in PLURALS else noun
            text = names.with_article(text) if slot.lower().startswith("a_") else text
            return text[0].upper() + text[1:] if slot[0].isupper() else text
        return DRAW[slot](self.rng)

    def _noun(self, family: str, base: str) -> str:
        """Draw the noun once for an article, so item, a_item and Items agree."""
        key = f"noun:{family}"
        if key not in self.values:
            self.values[key] = self.rng.choice(NOUNS[family]).replace("_", " ")
        return self.values[key]


NOUNS = {"item": names.ITEMS, "activity": names.ACTIVITIES, "plant": names.PLANTS}
FAMILIES = {"item": "item", "items": "item", "activity": "activity", "activities": "activity"} | {
    "plant": "plant"
}
PLURALS = {"items", "activities"}
STABLE = {"venue", "product", "product2", "plan", "shop"} | {f"noun:{f}" for f in NOUNS}

DRAW: dict[str, Callable[[random.Random], str]] = {
    "price": names.price,
    "time": names.clock_time,
    "time2": names.clock_time,
    "seconds": lambda r: names.count_of(r, 3, 30, "second"),
    "minutes": lambda r: names.count_of(r, 5, 90, "minute"),
    "hours": lambda r: names.count_of(r, 1, 72, "hour"),
    "days": lambda r: names.count_of(r, r.choice((1, 2, 7)), r.choice((9, 30, 100)), "day"),
    "weeks": lambda r: names.count_of(r, 2, 16, "week"),
    "months": lambda r: names.count_of(r, 1, 24, "month"),
    "years": lambda r: names.count_of(r, 1, 10, "year"),
    "n": lambda r: str(r.choice((r.randint(2, 12), r.randint(2, 99), r.randint(10, 600)))),
    "nth": lambda r: r.choice(("first", "second", "third", "fourth", "fifth", "tenth", "15th")),
    "percent": lambda r: f"{r.randint(1, 19) * 5}%" if r.random() < 0.6 else f"{r.randint(2, 60)}%",
    "kg": lambda r: f"{r.randint(1, 250)} {r.choice(('kg', 'kilos', 'g'))}",
    "cm": lambda r: f"{r.randint(5, 240)} cm",
    "cm2": lambda r: f"{r.randint(150, 210)} cm",
    "mb": lambda r: str(r.choice((5, 10, 20, 25, 50, 100, 200, 250, 500))),
    "litres": lambda r: str(r.randint(1, 90)),
    "degrees": lambda r: str(r.choice((20, 30, 40, 60, 95))),
    "age": lambda r: f"{r.randint(3, 21)} years" if r.random() < 0.3 else str(r.randint(3, 21)),
    "day": lambda r: r.choice(names.DAYS),
    "day2": lambda r: r.choice(names.DAYS),
    "date": lambda r: f"{r.randint(1, 28)} {r.choice(names.MONTHS)}",
    "date2": lambda r: f"{r.randint(1, 28)} {r.choice(names.MONTHS)}",
    "city": lambda r: r.choice(names.CITIES),
    "city2": lambda r: r.choice(names.CITIES),
    "year": lambda r: str(r.randint(1890, 2024)),
    "country": lambda r: r.choice(names.COUNTRIES),
    "country2": lambda r: r.choice(names.COUNTRIES),
    "street": lambda r: f"{r.choice(names.STREETS)} {r.choice(('Street', 'Road', 'Lane'))}",
    "address": names.street_address,
    "place": lambda r: r.choice(names.PLACES),
    "place2": lambda r: r.choice(names.SPOTS),
    "email": names.email_address,
    "web": names.web_page,
    "phone": names.phone_number,
    "code": lambda r: "".join(r.choice("ABCDEFGHKLMNPRSTUWX") for _ in range(2)),
    "code2": lambda r: r.choice(names.SCREENS.split("|")),
    "card": lambda r: r.choice(names.CARDS.split("|")),
    "card2": lambda r: r.choice(names.CARDS.split("|")),
    "colour": lambda r: r.choice(names.COLOURS),
    "colour2": lambda r: r.choice(names.COLOURS),
    "language": lambda r: r.choice(names.LANGUAGES),
    "material": lambda r: r.choice(names.MATERIALS),
    "plan": lambda r: r.choice((r.choice(names.PLANS), names.invented_name(r))),
    "venue": lambda r: r.choice(names.VENUES),
    "item2": lambda r: r.choice(names.PARTS),
    "product": names.product_name,
    "product2": lambda r: names.invented_name(r),
    "phone_os": lambda r: r.choice(("Android", "iOS")),
}  # fmt: skip


@cache
def asked_kinds() -> tuple[tuple[str, str], ...]:
    """Return pairs of patterns: a kind of question, and what its answer must then hold."""
    lines = (Path(__file__).parent / "asks_for.txt").read_text().splitlines()
    return tuple((asked, needed.strip()) for asked, needed in zip(*[iter(lines)] * 2, strict=True))


@cache
def fact_book() -> tuple[Fact, ...]:
    """Return the facts of facts.txt; those under one heading stand together."""
    facts: list[Fact] = []
    headings: tuple[str, ...] = ()
    for block in (Path(__file__).parent / "facts.txt").read_text().split("\n\n"):
        lines = block.strip().splitlines()
        if lines[0].startswith("## "):
            headings = tuple(lines.pop(0)[3:].split(" | "))
        by_kind = {kind: tuple(t[2:] for t in lines if t[0] == kind) for kind in "SQF"}
        facts.append(Fact(headings, by_kind["S"], by_kind["Q"], by_kind["F"]))
    return tuple(facts)
