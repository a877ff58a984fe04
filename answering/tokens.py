"""Counts tokens as the served model counts them, its chat template included."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from core.errors import ConfigurationError
from core.types import Message
from core.vllm import TEMPLATE_KWARGS


class ModelTokenizer:
    """The tokenizer of the base model; adapters share it. Safe to share between threads."""

    def __init__(self, model: str) -> None:
        # Imported here: it takes seconds, and most commands never chat.
        from transformers import AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model)
        except (OSError, ValueError) as exc:
            raise ConfigurationError(
                f"the tokenizer of {model} can't be loaded; check RATCHET_MODEL"
            ) from exc
        if not self._tokenizer.chat_template:
            raise ConfigurationError(f"{model} has no chat template; choose a chat model")

    def count(self, messages: Sequence[Message]) -> int:
        """Return the length of the whole prompt, up to where the answer begins."""
        asked = [{"role": each["role"], "content": each["content"]} for each in messages]
        extra: dict[str, Any] = dict(TEMPLATE_KWARGS)
        ids = self._tokenizer.apply_chat_template(
            asked, add_generation_prompt=True, return_dict=False, **extra
        )
        return len(ids)

    def count_text(self, text: str) -> int:
        """Return how many tokens a piece of plain text has."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))


@cache
def get_tokenizer(model: str) -> ModelTokenizer:
    """Return the process's tokenizer of a base model; the first call takes seconds."""
    return ModelTokenizer(model)
