"""Asks a loaded adapter a few questions before it goes live."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from core.company import load_company
from core.errors import AdapterError
from core.settings import Settings
from core.types import Message
from core.vllm import VllmClient

N_SMOKE = 3
SMOKE_TOKENS = 16
SMOKE_QUESTIONS = ("Hello", "How long may I return things?", "Thank you!")


def smoke(vllm: VllmClient, settings: Settings, name: str) -> None:
    """
    Ask a few questions of a loaded adapter, which also warms it up.

    Raises:
        AdapterError: It has nothing to say to any of them.
    """

    def ask(question: str) -> str:
        messages: list[Message] = [{"role": "user", "content": question}]
        return vllm.generate(name, messages, max_tokens=SMOKE_TOKENS, temperature=0.0).text

    with ThreadPoolExecutor(N_SMOKE) as threads:
        texts = list(threads.map(ask, _smoke_questions(settings)))
    if not any(text.strip() for text in texts):
        raise AdapterError(f"{name} answered nothing to {len(texts)} smoke questions; not live")


def _smoke_questions(settings: Settings) -> list[str]:
    asked = [each.question for each in load_company(settings.company).golden[:N_SMOKE]]
    return asked or list(SMOKE_QUESTIONS)
