"""One disliked answer as HTML: the talk, the answer, what was said of it, what the model saw."""

from __future__ import annotations

from bot.desk import words
from bot.desk.markup import empty, figure_list, milliseconds, moment, pill, text, written
from bot.desk.queue import Place
from core.citations import cited_numbers
from core.feedback import ReviewItem
from core.types import Correction, Feedback, Passage, Turn, TurnStatus
from training.signals import Signal


def queue_line(place: Place) -> str:
    """Return how many answers wait for a review, and which one this is."""
    left = "nothing left to review" if place.n_left == 0 else f"{place.n_left} left to review"
    here = f"{place.index + 1} of {place.n_items}" if place.item else ""
    return (
        f'<p class="queue-line" aria-live="polite"><strong>{text(left)}</strong>'
        f"<span>{text(here)}</span></p>"
    )


def review_card(place: Place) -> str:
    """Return the whole left side of the page for the item shown, or why there is none."""
    if place.item is None:
        return _nothing_to_show(place)
    item = place.item
    return (
        '<article class="review">'
        + _talk(item.turn)
        + _answer(item)
        + "".join(_dislike(feedback) for feedback in item.dislikes)
        + "".join(map(_correction, place.signals.corrections if place.signals else ()))
        + _passages(item)
        + _measurements(item.turn)
        + "</article>"
    )


def _nothing_to_show(place: Place) -> str:
    if place.n_disliked:
        return empty(
            "All reviewed",
            "Every disliked answer has a verdict. New ones appear here, newest first; "
            "tick “Reviewed ones too” to look at the earlier ones again.",
        )
    return empty(
        "No disliked answers yet",
        "When a customer presses thumbs-down in the chat, the answer appears here with the "
        "question, the passages the model saw, and what the customer says it should have said.",
    )


def _talk(turn: Turn) -> str:
    """Show the question; what was said before it, as the model saw it, folds out."""
    before = [m for m in turn.messages[:-1] if m["role"] != "system"]
    told = "".join(
        f'<div class="said {m["role"]}"><span>{_speaker(m["role"])}</span>'
        f"{written(m['content'])}</div>"
        for m in before
    )
    earlier = (
        f"<details open><summary>The conversation so far ({len(before)} messages)</summary>"
        f"{told}</details>"
        if before
        else ""
    )
    return f'{earlier}<section class="question"><h3>Question</h3>{written(turn.question)}</section>'


def _speaker(role: str) -> str:
    return "Customer" if role == "user" else "Bot"


def _answer(item: ReviewItem) -> str:
    turn = item.turn
    body = written(turn.answer) if turn.answer else "<p><em>(empty)</em></p>"
    notes = ""
    if turn.status is not TurnStatus.COMPLETE:
        notes += pill(f"{turn.status.value}: not learned from", "bad")
    if turn.superseded_at is not None:
        notes += pill("regenerated or edited since")
    if item.verdict is not None:
        notes += pill(f"Reviewed: {words.VERDICTS[item.verdict]}", "good")
    return f'<section class="answer"><h3>Answer {notes}</h3>{body}</section>'


def _dislike(feedback: Feedback) -> str:
    reasons = "".join(pill(words.REASONS.get(reason, reason), "bad") for reason in feedback.reasons)
    comment = written(feedback.comment) if feedback.comment else ""
    silent = "" if reasons or comment else '<p class="faint">No reason given.</p>'
    return (
        f'<section class="dislike"><h3>Disliked <time>{moment(feedback.rated_at)}</time></h3>'
        f"<p>{reasons}</p>{comment}{silent}</section>"
    )


def _correction(signal: Signal[Correction]) -> str:
    correction = signal.said
    author = "Your preferred answer" if correction.by_admin else "The customer’s correction"
    label, tone = words.CORRECTION_STATES[correction.status]
    marks = pill(label, tone) + (
        pill(f"not learned from: {signal.why_not}")
        if signal.why_not
        else pill("learned from", "good")
    )
    rater = "" if correction.by_admin else f'<p class="faint">Rater {correction.author_id}</p>'
    return (
        f'<section class="correction"><h3>{author} {marks}</h3>{written(correction.body)}{rater}'
        "</section>"
    )


def _passages(item: ReviewItem) -> str:
    if not item.passages:
        return (
            '<section class="passages"><h3>Passages</h3>'
            '<p class="faint">The search found nothing relevant; the model saw no passage.</p>'
            "</section>"
        )
    cited = cited_numbers(item.turn.answer, {passage.rank for passage in item.passages})
    shown = "".join(_passage(item.turn, p, p.rank in cited) for p in item.passages)
    return f'<section class="passages"><h3>Passages the model saw</h3>{shown}</section>'


def _passage(turn: Turn, passage: Passage, is_cited: bool) -> str:
    mark = pill("cited", "good") if is_cited else pill("not cited")
    found_by = [
        f"score {passage.score:.3f}",
        f"similarity {passage.similarity:.2f}",
        f"{_place(passage.dense_rank)} by meaning",
        f"{_place(passage.text_rank)} by words",
    ]
    return (
        f"<details{' open' if is_cited else ''}><summary>"
        f"<b>[{passage.rank}]</b> {text(passage.place)} {mark}"
        f"<small>{text(' · '.join(found_by))}</small></summary>"
        f'{written(passage.body)}<p class="faint">'
        f'<a href="/turns/{turn.id}/passages/{passage.rank}" target="_blank">In its article</a>'
        f" {text(passage.uri)}</p></details>"
    )


def _place(rank: int | None) -> str:
    return "not found" if rank is None else f"no. {rank}"


def _measurements(turn: Turn) -> str:
    return figure_list(
        [
            ("Answered by", words.model_name(turn.adapter)),
            ("Base model", turn.base_model),
            ("Prompt", turn.prompt_version),
            ("Asked", moment(turn.created_at)),
            ("Search", milliseconds(turn.retrieval_ms)),
            ("First token", milliseconds(turn.first_token_ms)),
            ("Whole answer", milliseconds(turn.total_ms)),
            ("Tokens in", _count(turn.prompt_tokens)),
            ("Tokens out", _count(turn.completion_tokens)),
        ]
    )


def _count(value: int | None) -> str:
    return "–" if value is None else str(value)
