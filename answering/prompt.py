"""Guidelines, passages, history, question → the exact messages the model sees, in its budget."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from langchain_core.messages import convert_to_openai_messages
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

from core.errors import InvalidInput
from core.settings import NOTHING_FOUND
from core.types import Message, Passage
from retrieval.context import best_first_and_last
from retrieval.load import storable_text

PROMPT_VERSION = "2"  # stored with each turn; raise it with any change of the layout below
MAX_HISTORY_MESSAGES = 4
SMALL_TALK_WORDS = 4
TOKENS_PER_MESSAGE = 8  # what a chat template puts around each message, and before the answer

_TEMPLATE = ChatPromptTemplate.from_messages(
    [
        (
            "system",
            "{guidelines}\n\n"
            "Answer only from the numbered passages and cite the one you used, like [1]. "
            f"If none of them answers, say: {NOTHING_FOUND}\n\n"
            "{passages}",
        ),
        MessagesPlaceholder("history"),
        ("human", "{question}"),
    ]
)


@dataclass(frozen=True, slots=True)
class BuiltPrompt:
    """The messages to send, and the passages in them, ranked as they are numbered there."""

    messages: list[Message]
    passages: list[Passage]


def clean_question(question: str) -> str:
    """
    Return the question as it can be stored and sent: no NUL, no surrounding space.

    Raises:
        InvalidInput: Nothing is left.
    """
    clean = storable_text(question).strip()
    if not clean:
        raise InvalidInput("the message is empty; write a question")
    return clean


def is_small_talk(question: str) -> bool:
    """
    Return whether a message is so short that the model may answer it without passages.

    >>> is_small_talk("Hello there!"), is_small_talk("What does a cooking class cost?")
    (True, False)
    """
    return len(question.split()) <= SMALL_TALK_WORDS


def build_messages(
    guidelines: str,
    passages: Sequence[Passage],
    history: Sequence[Message],
    question: str,
    *,
    budget_tokens: int,
    count_tokens: Callable[[str], int],
) -> BuiltPrompt:
    """
    Build the prompt; what exceeds the budget goes: passages from the end, then old history.

    The best passage stays as long as it fits at all; it stands first, the second best last.
    `count_tokens` counts a text with the model's own tokenizer; `budget_tokens` is the model's
    length less the answer's.

    Raises:
        InvalidInput: The question is empty, or takes more than half of the budget.
    """
    asked = clean_question(question)
    _check_length(asked, budget_tokens, count_tokens)
    kept = list(passages)
    turns = _last_turns(history)
    while True:
        shown = best_first_and_last(kept)
        messages = _render(guidelines, shown, turns, asked)
        if _n_tokens(messages, count_tokens) <= budget_tokens:
            break
        if len(kept) > 1:
            kept.pop()
        elif turns:
            turns = turns[2:]
        elif kept:
            kept.pop()
        else:
            raise InvalidInput("guidelines and question exceed the model's length; shorten them")
    return BuiltPrompt(messages, [replace(each, rank=n) for n, each in enumerate(shown, start=1)])


def _check_length(question: str, budget_tokens: int, count_tokens: Callable[[str], int]) -> None:
    limit = budget_tokens // 2
    # No tokenizer puts more than about 16 letters into a token on average; a megabyte is
    # refused without counting it.
    if len(question) > 16 * limit or count_tokens(question) > limit:
        raise InvalidInput(
            f"the message is too long ({len(question)} characters; about {3 * limit} fit); "
            "shorten it"
        )


def _last_turns(history: Sequence[Message]) -> list[Message]:
    """Return the last whole question-answer pairs, at most four messages."""
    turns: list[Message] = []
    for asked, answered in itertools.pairwise(history):
        roles = (asked["role"], answered["role"])
        if roles == ("user", "assistant") and asked["content"].strip():
            turns += [asked, answered] if answered["content"].strip() else []
    return turns[-MAX_HISTORY_MESSAGES:]


def _render(
    guidelines: str, passages: Sequence[Passage], history: Sequence[Message], question: str
) -> list[Message]:
    filled = _TEMPLATE.invoke(
        {
            "guidelines": _harmless(guidelines).strip(),
            "passages": _passage_block(passages),
            "history": [{**turn, "content": _harmless(turn["content"])} for turn in history],
            "question": _harmless(question),
        }
    )
    return [
        {"role": each["role"], "content": each["content"]}
        for each in convert_to_openai_messages(filled.to_messages())
    ]


def _passage_block(passages: Sequence[Passage]) -> str:
    if not passages:
        return "(no passages)"
    blocks = []
    for number, passage in enumerate(passages, start=1):
        blocks.append(_harmless(f"[{number}] {passage.place}\n{passage.body.strip()}"))
    return "\n\n".join(blocks)


def _harmless(text: str) -> str:
    """Break up `<|…|>`: a chat template's own marks, which would end the message early."""
    return storable_text(text).replace("<|", "< |")


def _n_tokens(messages: Sequence[Message], count_tokens: Callable[[str], int]) -> int:
    return sum(count_tokens(each["content"]) + TOKENS_PER_MESSAGE for each in messages)
