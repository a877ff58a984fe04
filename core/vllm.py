"""A small HTTP client for vLLM: list, load, unload, generate, score; timeouts in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from core.errors import AdapterError, InvalidInput, ModelUnavailable, RatchetError
from core.types import Message

BASE = "base"  # the served name of the base model, whatever its folder is called
# The layers that adapters may change, in training and in serving; docs/sources.md has the cost of
# each choice. vLLM wraps only these, so that the others stay as fast as without LoRA.
ADAPTED_MODULES = ("o_proj", "down_proj")
CONNECT_TIMEOUT_S = 1.5  # a person waits: with vLLM away an error comes within two seconds
HEALTH_TIMEOUT_S = 2.0
# A reasoning model would spend the answer's budget on thinking; templates that don't know the
# variable are not given it by vLLM.
TEMPLATE_KWARGS = {"enable_thinking": False}


UNIX = "unix:"  # before the path of a socket, in place of http://host:port


def split_url(url: str) -> tuple[str, str | None]:
    """
    Return (base URL for an HTTP client, path of the socket to connect to or None for TCP).

    >>> split_url("unix:/run/vllm.sock"), split_url("http://gpu:8001/")
    (('http://vllm', '/run/vllm.sock'), ('http://gpu:8001', None))
    """
    if url.startswith(UNIX):
        return "http://vllm", url.removeprefix(UNIX)
    return url.rstrip("/"), None


def open_http(
    url: str,
    api_key: str = "",
    *,
    timeout_s: float,
    transport: httpx.BaseTransport | None = None,  # a test's own server
) -> httpx.Client:
    """Return an HTTP client of the server at `url`, its key in every request; close it."""
    address, socket = split_url(url)
    return httpx.Client(
        base_url=address,
        headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
        timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
        transport=transport or httpx.HTTPTransport(uds=socket),
        trust_env=False,  # asked is what the settings name, never a proxy of the environment
    )


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer with the server's own token counts."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class VllmClient:
    """
    Talks to one vLLM server; safe to share between threads.

    Raises from every method:
        ModelUnavailable: The server can't be reached, broke off or answered 5xx.
        InvalidInput: The server refused the request, for example a prompt too long.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str = "",
        timeout_s: float = 60.0,
        *,
        transport: httpx.BaseTransport | None = None,  # a test's own server
    ) -> None:
        self._http = open_http(base_url, api_key, timeout_s=timeout_s, transport=transport)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def healthy(self) -> bool:
        """Return whether the server answers and its engine lives."""
        try:
            return self._http.get("/health", timeout=HEALTH_TIMEOUT_S).status_code == 200
        except httpx.HTTPError:
            return False

    def adapters(self) -> set[str]:
        """Return the names of the adapters loaded now."""
        return set(self.adapter_paths())

    def adapter_paths(self) -> dict[str, str]:
        """Return by name the folder that each adapter was loaded from."""
        loaded = [model for model in self._models() if model.get("parent")]
        return {str(model["id"]): str(model["root"]) for model in loaded}

    def _models(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self._send("GET", "/v1/models").json()["data"]
        return listed

    def load_adapter(self, name: str, path: str) -> None:
        """
        Load the adapter in folder `path` under a name that was never used before.

        Raises:
            AdapterError: The folder is missing or not a LoRA of this base model, or the name
                is taken.
        """
        self._change_adapter("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})

    def unload_adapter(self, name: str) -> None:
        """
        Forget an adapter's name; its weights age out of the server's cache.

        Raises:
            AdapterError: No adapter of this name is loaded.
        """
        self._change_adapter("/v1/unload_lora_adapter", {"lora_name": name})

    def _change_adapter(self, path: str, body: dict[str, str]) -> None:
        response = self._request("POST", path, body)
        # A rank too high or a broken config is a 500 here, though the server is well.
        if response.is_error:
            raise AdapterError(f"vLLM refused adapter {body['lora_name']}: {_reason(response)}")

    def generate(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        seed: int | None = None,
    ) -> Completion:
        """Return the whole answer of `model` (`base` or an adapter's name) to `messages`."""
        body = {
            "model": model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
            "chat_template_kwargs": TEMPLATE_KWARGS,
        }
        answered = self._send("POST", "/v1/chat/completions", body).json()
        return Completion(
            text=answered["choices"][0]["message"]["content"] or "",
            prompt_tokens=answered["usage"]["prompt_tokens"],
            completion_tokens=answered["usage"]["completion_tokens"],
        )

    def sequence_logprob(self, model: str, messages: Sequence[Message], answer: str) -> float:
        """
        Return the log-probability in nats that `model` gives to `answer` after `messages`.

        The sum runs over the answer's tokens and the template's end of turn. The chat template
        must be prefix-stable: the prompt's tokens are a prefix of the whole talk's.
        """
        prompt = {
            "model": model,
            "messages": list(messages),
            "chat_template_kwargs": TEMPLATE_KWARGS,
        }
        asked = self._send("POST", "/tokenize", {**prompt, "add_generation_prompt": True}).json()
        scored = self._send(
            "POST",
            "/v1/chat/completions",
            {
                **prompt,
                "messages": [*messages, {"role": "assistant", "content": answer}],
                "add_generation_prompt": False,
                "max_tokens": 1,
                "temperature": 0,
                "prompt_logprobs": 0,
                "return_token_ids": True,
            },
        ).json()
        ids, logprobs = scored["prompt_token_ids"], scored["prompt_logprobs"]
        places = range(asked["count"], len(ids))
        return float(sum(logprobs[i][str(ids[i])]["logprob"] for i in places))

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        response = self._request(method, path, body)
        if response.is_error:
            raise _refusal(response)
        return response

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        try:
            return self._http.request(method, path, json=body)
        except httpx.HTTPError as exc:
            raise ModelUnavailable(
                "the model can't be reached; check `ratchet status`, then try again"
            ) from exc


def _refusal(response: httpx.Response) -> RatchetError:
    if response.status_code == 404:
        return AdapterError(f"vLLM does not have it: {_reason(response)}")
    if response.is_client_error:
        return InvalidInput(f"vLLM refused the request: {_reason(response)}")
    return ModelUnavailable(
        f"the model server failed ({response.status_code}): {_reason(response)}"
    )


def _reason(response: httpx.Response) -> str:
    """Return the first line of the server's own message, at most 200 characters."""
    try:
        message = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = response.text
    return (message.strip().splitlines() or ["no reason given"])[0][:200]
