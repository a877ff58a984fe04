"""Training groups from invented help centres: facts, follow-ups, steps, small talk."""

# ruff: noqa: SIM905 - a list of words reads best as words
from __future__ import annotations

import random

from . import names
from .facts import Fact, Filling, fact_book
from .guidelines import random_guidelines
from .prompts import Exchange, Group, Quote, ShownPassage
from .smalltalk import small_talk
from .styles import Habits, answered, casual, longer_quote, past_exchange, sorry

BEST_FIRST_SHARE = 0.85  # of the questions, as the real retrieval ranks
STEPS_SHARE = 0.2  # of the passages of invented articles
PAST_SHARE = 0.4  # of the prompts; an article that was talked about is no longer shown
MAIN_POINT_SHARE = 0.75  # articles tend to say the main thing first
GOALS = (
    "pair the {item}|reset the {item}|set up your {item}|clean the {item}|register your {item}"
    "|book {a_item}|change your plan|cancel your order|return {a_item}|move a booking"
    "|add a family member|download an invoice|change your password|switch on alarms"
    "|update the {item}|print a label|join a {activity}|share a file|renew your pass"
).split("|")
STEPS = (
    "open the app|tap Settings|choose {code2}|press the {colour} button for {seconds}"
    "|enter your email address|wait {minutes}|unplug the {item}|switch it on again"
    "|click {code2}|pick a date|confirm with your password|scan the code on the {item2}"
    "|hold the {item2} against the {item}|sign in at {web}|select Continue|pay by {card}"
    "|take out the {item2}|turn the {colour} knob to {n}|print the label|bring it to {place}"
    "|go to Account, then {code2}|tick the box|type {code}{n}|save your changes"
).split("|")


def invented_group(rng: random.Random, max_passages: int, habits: Habits) -> Group:
    """Return one prompt's worth of passages of an invented company, and conversations on it."""
    company = names.company_name(rng)
    n_passages = rng.choices((1, 2, 3), (2, 3, 7))[0]
    shelf = _Shelf(rng, company, habits)
    shelf.stock(min(n_passages, max_passages))
    if rng.random() < PAST_SHARE and habits.past:
        shelf.put_one_away()
    talks = shelf.conversations(rng.randint(5, 9))
    return Group(random_guidelines(company, rng), tuple(shelf.passages), tuple(talks))


def chatter_group(rng: random.Random) -> Group:
    """Return a group without passages: small talk, and questions nothing answers."""
    talks = [(small_talk(rng),) for _ in range(4)]
    company = names.company_name(rng)
    filling = Filling(rng, company)
    facts = rng.choices(fact_book(), k=2)
    talks += [(sorry(casual(filling.fill(rng.choice(f.questions)), rng)),) for f in facts]
    return Group(random_guidelines(company, rng), (), tuple(talks))


class _Shelf:
    """The passages of one prompt, and which fact each of their sentences states."""

    def __init__(self, rng: random.Random, company: str, habits: Habits) -> None:
        self.rng, self.company, self.habits = rng, company, habits
        self.passages: list[ShownPassage] = []
        self.stated: list[list[tuple[Fact, str, Quote, Filling]]] = []
        self.past: list[Exchange] = []

    def stock(self, n_passages: int) -> None:
        """Lay down passages; with luck two of them say like things of unlike subjects."""
        book, rng = fact_book(), self.rng
        section = rng.choice(book).headings
        filling = Filling(rng, self.company)
        for _ in range(n_passages):
            if rng.random() < 0.45:
                section = rng.choice(book).headings
            if rng.random() < 0.45:
                filling = Filling(rng, self.company)  # of other things than the passage before
            if rng.random() < STEPS_SHARE:
                self._add_steps(filling)
            else:
                self._add_facts(section, filling)

    def put_one_away(self) -> None:
        """Talk about one more passage of the same things, and take it off the shelf again."""
        rng, filling = self.rng, self.stated[0][0][3]
        self._add_facts(rng.choice(fact_book()).headings, filling)
        text = self.passages.pop().text
        for fact, template, _, _ in self.stated.pop():
            fitting = [q for q in fact.questions if template in fact.answering(q)]
            if fitting:
                question = filling.fill(rng.choice(fitting))
                self.past.append(past_exchange(question, f"{text} [1]", rng))

    def _add_facts(self, headings: tuple[str, ...], filling: Filling) -> None:
        rng = self.rng
        stated_before = {fact for row in self.stated for fact, *_ in row}
        about = [f for f in fact_book() if f.headings == headings and f not in stated_before]
        about = about or [rng.choice(fact_book())]
        chosen = rng.sample(about, min(len(about), rng.choices((1, 2, 3, 4), (6, 5, 3, 1))[0]))
        heading = filling.fill(rng.choice(headings))
        text, stated = "", []
        gap = "\n- " if rng.random() < 0.08 else " "
        for fact in chosen:
            template = rng.choice(fact.sentences)
            sentence = filling.fill(template)
            text += (gap if text else gap.lstrip()) + sentence
            quote = Quote(len(self.passages), len(text) - len(sentence), len(text))
            stated.append((fact, template, quote, filling))
        title = rng.choice((self.company, f"{self.company} help", rng.choice(headings), "FAQ"))
        title = filling.fill(title)
        self.passages.append(ShownPassage(title, heading if rng.random() < 0.8 else "", text))
        self.stated.append(stated)

    def _add_steps(self, filling: Filling) -> None:
        rng = self.rng
        goal = filling.fill(rng.choice(GOALS))
        steps = [filling.fill(step) for step in rng.sample(STEPS, rng.randint(2, 5))]
        steps = [step[0].upper() + step[1:] for step in steps]
        if rng.random() < 0.5:
            text = "\n".join(f"{n}. {step}." for n, step in enumerate(steps, 1))
        else:
            text = " ".join(f"{step}." for step in steps)
        questions = (
            f"How do I {goal}?",
            f"How can I {goal}?",
            f"What are the steps to {goal}?",
        )
        lead = ""
        if text.startswith("1.") and rng.random() < 0.6:
            place = filling.fill("on the {code2} page of our website")
            lead = rng.choice((f"To {goal}:\n", f"You can {goal} {place}.\n\n", "Please:\n\n"))
        text, start = lead + text, len(lead)
        fact = Fact(("Steps",), (text,), questions, ())
        quote = Quote(len(self.passages), start, len(text))
        heading = rng.choice((f"How to {goal}", goal[0].upper() + goal[1:], "Steps"))
        self.passages.append(
            ShownPassage(rng.choice((self.company, "Guide", "How to")), heading, text)
        )
        self.stated.append([(fact, text, quote, filling)])

    def conversations(self, n_talks: int) -> list[tuple[Exchange, ...]]:
        """Return conversations about these passages, most often about the first; none twice."""
        talks: dict[str, tuple[Exchange, ...]] = {}
        for _ in range(n_talks):
            talk = self._talk()
            if self.past and self.rng.random() < 0.4:
                talk = (self.rng.choice(self.past), *self._talk(follow_up=True))
            talks.setdefault(talk[-1].question.strip("?").casefold(), talk)
        if self.rng.random() < 0.15:
            talks["small talk"] = (small_talk(self.rng),)
        return list(talks.values())

    def _talk(self, *, follow_up: bool = False) -> tuple[Exchange, ...]:
        rng = self.rng
        if rng.random() < 0.09:
            return (self._unanswerable(),)
        place = 0 if rng.random() < BEST_FIRST_SHARE else rng.randrange(len(self.passages))
        rows = self.stated[place]
        if rng.random() < MAIN_POINT_SHARE:
            rows = rows[:1]
        found = self._asked(rows, follow_up=True) if follow_up else None
        found = found or self._asked(rows, follow_up=False)
        if found is None:
            return (self._unanswerable(),)
        first, filling = found
        if rng.random() < 0.3:
            same = [row for rows in self.stated for row in rows if row[3] is filling]
            second = self._asked([row for row in same if row[2] != first.gold], follow_up=True)
            if second is not None:
                return (first, second[0])
        if rng.random() < 0.06:
            return (first, small_talk(rng))
        return (first,)

    def _asked(
        self, rows: list[tuple[Fact, str, Quote, Filling]], *, follow_up: bool
    ) -> tuple[Exchange, Filling] | None:
        """Return a question on one of these sentences, where a template asks for it."""
        for fact, template, quote, filling in self.rng.sample(rows, len(rows)):
            asks = fact.follow_ups if follow_up else fact.questions
            fitting = [q for q in asks if template in fact.answering(q)]
            if fitting:
                question = filling.fill(self.rng.choice(fitting))
                return self._answered(question, quote), filling
        return None

    def _answered(self, question: str, quote: Quote) -> Exchange:
        spans = [stated for _, _, stated, _ in self.stated[quote.passage]]
        passage = self.passages[quote.passage]
        longer = longer_quote(passage, spans, spans.index(quote))
        return answered(casual(question, self.rng), quote, longer, self.habits, self.rng)

    def _unanswerable(self) -> Exchange:
        """Return a question on something that no passage of this prompt states."""
        rng = self.rng
        stated = {fact for row in self.stated for fact, *_ in row}
        fillings = [row[0][3] for row in self.stated if row]
        near = [f for f in fact_book() if f not in stated]
        sections = {fact.headings for fact in stated}
        same_section = [f for f in near if f.headings in sections]
        fact = rng.choice(same_section if same_section and rng.random() < 0.4 else near)
        filling = rng.choice(fillings) if rng.random() < 0.6 else Filling(rng, self.company)
        return sorry(casual(filling.fill(rng.choice(fact.questions)), rng))
