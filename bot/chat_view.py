"""Turns as the chatbot shows them: escaped text, citations as links, sources, saved feedback."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from time import perf_counter
from typing import Any
from uuid import UUID

from psycopg import Connection

from bot.chat import Started
from bot.html import answer_html, plain_in_markdown
from core.citations import cited_numbers, numbers_in_bracket
from core.conversations import load_turns, passages_of_turns
from core.errors import RatchetError
from core.feedback import corrections_of, current_ratings
from core.types import Feedback, Passage, Rating, Reason, Turn, TurnStatus

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


def load_shown(conn: Connection[Any], conversation_id: UUID, owner_id: UUID) -> list[ShownTurn]:
    """
    Return a conversation as its owner sees it.

    Raises:
        NotFound: No such conversation, or it is somebody else's.
    """
    turns = load_turns(conn, conversation_id, owner_id)[-MAX_SHOWN_TURNS:]
    passages = passages_of_turns(conn, [turn.id for turn in turns])
    ratings = current_ratings(conn, conversation_id, owner_id)
    return [
        ShownTurn(
            turn,
            passages.get(turn.id, []),
            ratings.get(turn.id),
            _own_correction(conn, turn.id, owner_id) if turn.id in ratings else "",
        )
        for turn in turns
    ]


def _own_correction(conn: Connection[Any], turn_id: UUID, owner_id: UUID) -> str:
    bodies = (c.body for c in corrections_of(conn, turn_id) if c.author_id == owner_id)
    return next(bodies, "")


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
    content = (
        linked(turn.answer, turn.id, shown.passages)
        + _ending(turn)
        + sources(turn, shown.passages)
        + _feedback_note(shown)
    )
    return question_message(turn.id, turn.question), _message("assistant", turn.id, content)


def _ending(turn: Turn) -> str:
    if turn.status is TurnStatus.STOPPED:
        return _aside("Stopped here.")
    if turn.status is TurnStatus.FAILED:
        return _aside("This answer broke off. Press “Try again”.")
    if turn.status is TurnStatus.STREAMING:
        return _aside("This answer was interrupted. Press “Try again”.")
    return ""


def _aside(text: str) -> str:
    return f'\n\n<p class="aside">{escape(text)}</p>'


def linked(text: str, turn_id: UUID, passages: Sequence[Passage], *, written: bool = True) -> str:
    """Return an answer as safe HTML; `[n]` links to passage n, where there is one."""
    by_rank = {passage.rank: passage for passage in passages}

    def citation(bracket: str) -> str:
        ranks = numbers_in_bracket(bracket, by_rank)
        return "".join(_citation(turn_id, by_rank[rank]) for rank in ranks)

    state = "answer" if written else "answer writing"
    return f'<div class="{state}">{answer_html(text, citation)}</div>'


def _citation(turn_id: UUID, passage: Passage) -> str:
    return (
        f'<a class="cite" href="{_address(turn_id, passage.rank)}" '
        f'title="{_attribute(passage.title)}">{passage.rank}</a>'
    )


def sources(turn: Turn, passages: Sequence[Passage]) -> str:
    """Return the panel under an answer: what it cites, else what was looked at, folded."""
    if turn.status is TurnStatus.FAILED or not passages:
        return ""
    ranks = cited_numbers(turn.answer, {passage.rank for passage in passages})
    cited = [passage for passage in passages if passage.rank in ranks]
    cards = "".join(_card(turn.id, passage) for passage in cited or passages)
    if cited:
        return f'\n\n<div class="sources">{cards}</div>'
    return (
        '\n\n<details class="sources"><summary>No source cited. Articles looked at</summary>'
        f"{cards}</details>"
    )


def _card(turn_id: UUID, passage: Passage) -> str:
    return (
        f'<a class="source" href="{_address(turn_id, passage.rank)}">'
        f'<span class="source-rank">{passage.rank}</span>'
        f'<span class="source-title">{_attribute(passage.place)}</span>'
        f'<span class="source-text">{_attribute(_snippet(passage.body))}</span></a>'
    )


def _snippet(body: str) -> str:
    """Return the start of a passage in one line, without Markdown's marks."""
    line = " ".join(re.sub(r"[*_`#|>]+|-{3,}|\]\([^)]*\)|\[", " ", body).split())
    return line if len(line) <= MAX_SNIPPET_CHARS else line[: MAX_SNIPPET_CHARS - 1].rstrip() + "…"


def _feedback_note(shown: ShownTurn) -> str:
    if shown.feedback is None or shown.feedback.rating is not Rating.DOWN:
        return ""
    said = [REASONS[Reason(reason)] for reason in shown.feedback.reasons]
    said += [f"“{shown.feedback.comment}”"] if shown.feedback.comment else []
    lines = [f"You said: {' · '.join(said)}"] if said else []
    lines += [f"It should have said: “{shown.correction}”"] if shown.correction else []
    shown_lines = "".join(f"<p>{_attribute(line)}</p>" for line in lines)
    return f'\n\n<div class="your-feedback">{shown_lines}</div>' if lines else ""


def _address(turn_id: UUID, rank: int) -> str:
    return f"/turns/{turn_id}/passages/{rank}#passage"


def _attribute(text: str) -> str:
    # One line: a blank one would end the HTML block that Markdown passes through.
    return escape(" ".join(text.split()), quote=True)


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
        content = self._body(written=True) + _aside(str(problem))
        return [*self._before, _message("assistant", self.started.turn_id, content)]

    def _body(self, *, written: bool = False) -> str:
        if not self._text:
            return ""
        turn_id, passages = self.started.turn_id, self.started.passages
        return linked(self._text, turn_id, passages, written=written)
