"""Streams one answer from vLLM through LangChain; a task reads it, so anyone may stop it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

import httpx
import openai
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from core.errors import AdapterError, InvalidInput, ModelUnavailable, RatchetError
from core.settings import Settings
from core.types import Message
from core.vllm import CONNECT_TIMEOUT_S, TEMPLATE_KWARGS, split_url

READ_TIMEOUT_S = 60.0  # between two tokens; a long queue at the server counts too
ANSWER_TIMEOUT_S = 120.0  # no answer takes longer; a turn still streaming then has failed
MAX_CONNECTIONS = 256
KEEPALIVE_S = 2.0  # vLLM closes idle connections after five: never send into one that is closing
log = logging.getLogger("ratchet.chat")


class ModelStream:
    """
    The streaming chat model behind all answers of one event loop.

    Connections are made at the first answer and belong to the loop that asked for it.
    """

    def __init__(self, settings: Settings) -> None:
        limits = httpx.Limits(
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=32,
            keepalive_expiry=KEEPALIVE_S,
        )
        timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        address, socket = split_url(settings.vllm_base_url)
        self._http = httpx.AsyncClient(
            timeout=timeout,
            transport=httpx.AsyncHTTPTransport(uds=socket, limits=limits),
            trust_env=False,
        )
        self._llm = ChatOpenAI(
            model="base",
            base_url=f"{address}/v1",
            api_key=SecretStr(settings.vllm_key or "none"),
            temperature=settings.temperature,
            max_completion_tokens=settings.max_answer_tokens,
            timeout=timeout,
            max_retries=0,  # a person waits: say so at once instead
            stream_usage=True,
            use_responses_api=False,
            http_async_client=self._http,
            http_client=httpx.Client(timeout=timeout),
            # Its watch wraps each piece in asyncio.wait_for, which before Python 3.12 forgets a
            # cancellation that comes together with the piece: Stop would be lost.
            stream_chunk_timeout=None,
            extra_body={"chat_template_kwargs": TEMPLATE_KWARGS},
        )

    def generate(self, model: str, messages: Sequence[Message]) -> Generation:
        """Start `model` (`base` or an adapter's name) on an answer to exactly these messages."""
        return Generation(self._llm, model, messages)

    async def close(self) -> None:
        """Close all connections; answers still streaming break off."""
        await self._http.aclose()


class Generation:
    """
    One answer being written by a task of its own.

    Iterate for the text, in pieces of one token or of all that came since the last look.
    Leave through `close`, which aborts the request at the server when it is not over.

    Raises while iterating:
        ModelUnavailable: vLLM can't be reached or broke off.
        AdapterError: vLLM has no such adapter (any more); nothing was generated.
        InvalidInput: vLLM refused the messages, for example as too long.
    """

    def __init__(self, llm: ChatOpenAI, model: str, messages: Sequence[Message]) -> None:
        self.prompt_tokens: int | None = None  # known once the answer is complete
        self.completion_tokens: int | None = None
        self._texts: list[str] = []
        self._error: RatchetError | None = None
        self._over = False
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._pump(llm, model, messages))
        self._task.add_done_callback(self._end)  # also when stopped before its first step

    def stop(self) -> None:
        """
        End the answer where it is; iterating then ends as if the model had finished.

        May be called from any thread.
        """
        self._loop.call_soon_threadsafe(self._task.cancel)

    async def close(self) -> None:
        """Abort the request if it is still running, and wait until that is done."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def __aiter__(self) -> AsyncIterator[str]:
        over = False
        while not over:
            await self._news.wait()
            self._news.clear()
            # All that came meanwhile goes out as one piece: a slow reader catches up.
            texts, self._texts, over = self._texts, [], self._over
            if texts:
                yield "".join(texts)
        if self._error is not None:
            raise self._error

    async def _pump(self, llm: ChatOpenAI, model: str, messages: Sequence[Message]) -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._read(llm, model, messages)
        except TimeoutError:
            self._error = ModelUnavailable("the answer took too long; please try again")
        except (openai.OpenAIError, httpx.HTTPError) as exc:
            log.warning("%s broke off: %r", model, exc)  # the person gets one line, this is ours
            self._error = _translated(exc, model)

    def _end(self, _: asyncio.Task[None]) -> None:
        self._over = True
        self._news.set()

    async def _read(self, llm: ChatOpenAI, model: str, messages: Sequence[Message]) -> None:
        asked = [{"role": each["role"], "content": each["content"]} for each in messages]
        async for chunk in llm.astream(asked, model=model):
            if isinstance(chunk.content, str) and chunk.content:
                self._texts.append(chunk.content)
                self._news.set()
            if usage := chunk.usage_metadata:
                self.prompt_tokens = usage["input_tokens"]
                self.completion_tokens = usage["output_tokens"]


def _translated(exc: Exception, model: str) -> RatchetError:
    if isinstance(exc, openai.NotFoundError):
        return AdapterError(f"vLLM has no adapter {model}")
    if isinstance(exc, openai.BadRequestError):
        return InvalidInput("the question is too long for the model; please shorten it")
    return ModelUnavailable("the assistant can't be reached right now; please try again shortly")
