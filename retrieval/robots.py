"""robots.txt as RFC 9309 reads it: the longest matching rule, `*` and `$`; pure."""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx

from retrieval.fetch import USER_AGENT

NAME = USER_AGENT.split("/")[0].lower()  # what a group of rules calls us


@dataclass(slots=True)
class _Group:
    rules: list[tuple[str, bool]] = field(default_factory=list)  # pattern, whether it allows
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Robots:
    """What a site asks of us; without rules everything may be read."""

    rules: tuple[tuple[str, bool], ...] = ()
    delay_s: float = 0.0  # between two requests
    sitemaps: tuple[str, ...] = ()

    def may_read(self, url: str) -> bool:
        """Whether the longest rule that matches allows it; of two as long, the kinder counts."""
        place = httpx.URL(url).raw_path.decode()
        matching = [
            (len(pattern), allows) for pattern, allows in self.rules if _fits(pattern, place)
        ]
        return max(matching, default=(0, True))[1]


EVERYTHING_CLOSED = Robots((("/", False),))


def read_robots(text: str) -> Robots:
    """
    Return what robots.txt asks of us: the groups that name us, else those for all.

    >>> read_robots("User-agent: *\\nDisallow: /*.pdf$").may_read("https://a.example/b.pdf")
    False
    """
    groups: dict[str, _Group] = {}
    named: list[str] = []  # whom the lines below speak to
    in_rules, sitemaps = False, []
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.split("#")[0].partition(":"))
        match key.lower():
            case "user-agent":
                named = [*([] if in_rules else named), value.split("/")[0].lower()]
                in_rules = False
                groups.setdefault(named[-1], _Group())
            case "allow" | "disallow" as kind:
                in_rules = True
                pattern = quote(value, safe=string.punctuation)
                for name in named if value else ():
                    groups[name].rules.append((pattern, kind == "allow"))
            case "crawl-delay":
                in_rules = True
                for name in named:
                    groups[name].delay_s = _seconds(value)
            case "sitemap":
                sitemaps.append(value)
    ours = groups.get(NAME) or groups.get("*") or _Group()
    return Robots(tuple(ours.rules), ours.delay_s, tuple(sitemaps))


def _fits(pattern: str, place: str) -> bool:
    """Whether a pattern matches from the start; part by part, which no pattern makes slow."""
    to_end = pattern.endswith("$")
    first, *others = pattern.removesuffix("$").split("*")
    if not place.startswith(first):
        return False
    at = len(first)
    if not others:
        return not to_end or at == len(place)
    for part in others[:-1]:
        found = place.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    if to_end:
        return place.endswith(others[-1]) and len(place) - len(others[-1]) >= at
    return place.find(others[-1], at) >= 0


def _seconds(value: str) -> float:
    try:
        return max(0.0, float(value))
    except ValueError:
        return 0.0
