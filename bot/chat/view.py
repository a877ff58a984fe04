"""Turns as the chatbot shows them: escaped text, citations as links, sources, saved feedback."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from uuid import UUID

from markupsafe import Markup
from psycopg import Connection

from bot.chat.service import Started
from bot.html import answer_html, plain_in_markdown
from bot.templates import render
from core.citations import cited_numbers, numbers_in_bracket
from core.errors import RatchetError
from core.feedback import corrections_by_turn, current_ratings
from core.turns import passages_of_turns
from core.types import Correction, Feedback, Passage, Rating, Reason, Turn, TurnStatus

REASONS = {
    Reason.INCORRECT: "It's wrong",
    Reason.INCOMPLETE: "Something is missing",
    Reason.NOT_GROUNDED: "Not in the source",
    Reason.OUTDATED: "Out of date",
    Reason.NOT_MY_QUESTION: "Not what I asked",
    Reason.TOO_LONG: "Too long",
    Reason.TONE: "Unfriendly",
}
THUMBS = {Rating.UP: "Like", Rating.DOWN: "Dislike"}  # Gradio's names for its icons
ENDINGS = {
    TurnStatus.STOPPED: "Stopped here.",
    TurnStatus.FAILED: "This answer broke off. Press “Try again”.",
    TurnStatus.STREAMING: "This answer was interrupted. Press “Try again”.",
}
WAITING = '<span class="waiting">Looking it up</span>'
MAX_SHOWN_TURNS = 50  # of a long conversation the newest; all of it is drawn at each change
MAX_SNIPPET_CHARS = 150
REDRAW_EVERY_S = 0.04  # faster than this nobody reads

ChatMessage = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ShownTurn:
    """One turn with what belongs under it on the page."""

    turn: Turn
    passages: Sequence[Passage]
    feedback: Feedback | None = None
    correction: str = ""


def load_shown(conn: Connection[Any], turns: Sequence[Turn], owner_id: UUID) -> list[ShownTurn]:
    """Return the last turns of one conversation of an owner with what belongs under each."""
    shown = turns[-MAX_SHOWN_TURNS:]
    ids = [turn.id for turn in shown]
    passages = passages_of_turns(conn, ids)
    ratings = current_ratings(conn, shown[0].conversation_id, owner_id) if shown else {}
    corrections = corrections_by_turn(conn, [turn_id for turn_id in ids if turn_id in ratings])
    return [
        ShownTurn(
            turn,
            passages.get(turn.id, []),
            ratings.get(turn.id),
            _own_correction(corrections[turn.id], owner_id),
        )
        for turn in shown
    ]


def _own_correction(corrections: Sequence[Correction], owner_id: UUID) -> str:
    bodies = (each.body for each in corrections if each.author_id == owner_id)
    return next(bodies, "")  # the newest comes first


def conversation_id(value: str) -> UUID | None:
    """Return the open conversation's id; None for a new one and for what is no id."""
    try:
        return UUID(value)
    except ValueError:
        return None


def messages_of(shown: Iterable[ShownTurn]) -> list[ChatMessage]:
    """Return two messages for each turn, as `gr.Chatbot` takes them."""
    return [message for each in shown for message in _pair(each)]


def thumbs_of(shown: Iterable[ShownTurn]) -> list[str | None]:
    """Return the thumb that is lit under each answer."""
    return [THUMBS.get(each.feedback.rating) if each.feedback else None for each in shown]


def turn_ids_of(shown: Iterable[ShownTurn]) -> str:
    """Return whose messages these are, two for each turn, as the page keeps it for its thumbs."""
    return " ".join(str(each.turn.id) for each in shown)


def question_message(turn_id: UUID, question: str) -> ChatMessage:
    """Return the bubble with what the customer asked, character for character."""
    return _message("user", turn_id, plain_in_markdown(question))


def _message(role: str, turn_id: UUID, content: str) -> ChatMessage:
    # The id comes back with every thumb, whatever else has happened to the list meanwhile.
    return {"role": role, "content": content, "metadata": {"id": str(turn_id)}}


def _pair(shown: ShownTurn) -> tuple[ChatMessage, ChatMessage]:
    turn = shown.turn
    content = linked(turn.answer, turn.id, shown.passages) + below(shown)
    return question_message(turn.id, turn.question), _message("assistant", turn.id, content)


def below(shown: ShownTurn) -> str:
    """
    Return what stands below an answer: how it broke off, its sources, what the customer said.

    The sources are those that it cites, else those looked at, folded.
    """
    turn, feedback = shown.turn, shown.feedback
    passages = [] if turn.status is TurnStatus.FAILED else shown.passages
    cited = cited_numbers(turn.answer, {passage.rank for passage in passages})
    said = []
    if feedback is not None and feedback.rating is Rating.DOWN:
        said = [REASONS[Reason(reason)] for reason in feedback.reasons]
        said += [f"“{feedback.comment}”"] if feedback.comment else []
    return _below(
        turn_id=turn.id,
        ending=ENDINGS.get(turn.status),
        cited=[passage for passage in passages if passage.rank in cited],
        passages=passages,
        said=said,
        correction=shown.correction,
    )


def _below(**values: object) -> str:
    return "\n\n" + _one_line(render("chat/below.html", snippet=_snippet, **values))


def _one_line(html: Markup) -> str:
    # A blank line would end the block of HTML that Markdown passes through.
    return " ".join(html.split())


def linked(text: str, turn_id: UUID, passages: Sequence[Passage], *, written: bool = True) -> str:
    """Return an answer as safe HTML; `[n]` links to passage n, where there is one."""
    by_rank = {passage.rank: passage for passage in passages}

    def citation(bracket: str) -> str:
        ranks = numbers_in_bracket(bracket, by_rank)
        links = (
            render("chat/citation.html", turn_id=turn_id, passage=by_rank[rank]) for rank in ranks
        )
        return "".join(map(_one_line, links))

    state = "answer" if written else "answer writing"
    return f'<div class="{state}">{answer_html(text, citation)}</div>'


def _snippet(body: str) -> str:
    """Return the start of a passage in one line, without Markdown's marks."""
    line = " ".join(re.sub(r"[*_`#|>]+|-{3,}|\]\([^)]*\)|\[", " ", body).split())
    return line if len(line) <= MAX_SNIPPET_CHARS else line[: MAX_SNIPPET_CHARS - 1].rstrip() + "…"


class Drawing:
    """One answer while it is being written: what to show, and when it is worth showing."""

    def __init__(
        self,
        started: Started,
        before: list[ChatMessage],
        conversations: dict[Any, Any],
        turn_ids: str,  # of all turns shown, this one the last
    ) -> None:
        self.started, self.turn_ids = started, turn_ids
        self.conversations = conversations  # how the list of them shows, this one now in it
        self._before = before
        self._text = ""
        self._drawn_at = 0.0  # perf_counter, s

    def add(self, text: str) -> bool:
        """Append a piece and return whether it is time to draw again."""
        self._text += text
        now = perf_counter()
        if now - self._drawn_at < REDRAW_EVERY_S:
            return False
        self._drawn_at = now
        return True

    def messages(self) -> list[ChatMessage]:
        """Return the conversation up to the last piece that came."""
        return [*self._before, _message("assistant", self.started.turn_id, self._body() or WAITING)]

    def broken(self, problem: RatchetError) -> list[ChatMessage]:
        """Return the conversation with what came, and why no more did."""
        content = self._body(written=True) + _below(ending=str(problem))
        return [*self._before, _message("assistant", self.started.turn_id, content)]

    def _body(self, *, written: bool = False) -> str:
        if not self._text:
            return ""
        turn_id, passages = self.started.turn_id, self.started.passages
        return linked(self._text, turn_id, passages, written=written)
