"""Checks calls of the pages' functions: JSON of exactly the shape that a function's inputs have."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import gradio as gr

from bot.web.handlers import permission_of
from core.errors import InvalidInput

SESSION_HASH = re.compile(r"[a-z0-9]{1,40}")
KNOWN_FIELDS = {"data", "event_data", "fn_index", "trigger_id", "session_hash"}
MAX_FILES, MAX_CHOICES, MAX_NAME_CHARS = 100, 50, 255
UPLOADED = re.compile(r"[0-9a-f]{64}")  # Gradio's folder of one upload: the hash of the file

Check = Callable[[Any], Any]  # returns the value as it goes on; raises ValueError


@dataclass(frozen=True, slots=True)
class Function:
    """What may be given to one function, in the order of its inputs."""

    inputs: tuple[Check, ...]
    event: Check


class CallTable:
    """The functions of one page by their number, and the uploads that they may name."""

    def __init__(self, blocks: gr.Blocks, uploads: Path) -> None:
        self._uploads = uploads.resolve()
        self.functions = {
            number: self._function(blocks, function)
            for number, function in blocks.fns.items()
            if function.fn is not None
        }

    def _function(self, blocks: gr.Blocks, function: Any) -> Function:
        name = function_name(function.fn)
        if permission_of(function.fn) is None:
            raise TypeError(f"{name} names no permission, so no call may reach it")
        checks = tuple(self._input(name, component) for component in function.inputs)
        return Function(checks, _event_check({event for _, event in function.targets}))

    def _input(self, name: str, component: Any) -> Check:
        if isinstance(component, gr.File):
            return self._files
        for kind, check in CHECKS.items():
            if isinstance(component, kind):
                return check
        raise TypeError(f"{name} takes a {type(component).__name__}, which no call may carry")

    def read(self, raw: bytes, visitor: str, secret: str) -> tuple[str, bytes]:
        """
        Check a call; return its window's bound session hash, and the call as it goes to Gradio.

        The session hash, which a browser chooses, is bound to the visitor: nobody reads or
        ends another's stream, whatever hash they name.

        Raises:
            InvalidInput: It is not such a call; the text says which part.
        """
        call = _read_object(raw)
        function = self.functions.get(_number(call.get("fn_index"), "fn_index"))
        if function is None:
            raise InvalidInput("there is no such function")
        given = call.get("data")
        if not isinstance(given, list) or len(given) != len(function.inputs):
            raise InvalidInput(f"data must be a list of {len(function.inputs)} values")
        trigger = call.get("trigger_id")
        checked = {
            "data": [
                _checked(check, value, f"value {n}")
                for n, (check, value) in enumerate(zip(function.inputs, given, strict=True), 1)
            ],
            "event_data": _checked(function.event, call.get("event_data"), "event_data"),
            "fn_index": call["fn_index"],
            "trigger_id": None if trigger is None else _number(trigger, "trigger_id"),
            "session_hash": bound_hash(call.get("session_hash"), visitor, secret),
        }
        return checked["session_hash"], json.dumps(checked).encode()

    def _files(self, value: Any) -> list[dict[str, Any]]:
        """Let through files that were uploaded here, named by where Gradio put them."""
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > MAX_FILES:
            raise ValueError
        return [self._file(each) for each in value]

    def _file(self, value: Any) -> dict[str, Any]:
        path = Path(value["path"])
        folder = path.parent.name
        expected = self._uploads / folder / path.name
        # Rebuilt from two plain names; an address, a link or a way out of the folder is refused.
        if not UPLOADED.fullmatch(folder) or path != expected or expected.is_symlink():
            raise ValueError
        if not expected.is_file():
            raise ValueError
        size, name = expected.stat().st_size, _text(value.get("orig_name") or path.name)
        meta = {"_type": "gradio.FileData"}
        return {"path": str(path), "orig_name": name[:MAX_NAME_CHARS], "size": size, "meta": meta}


def function_name(function: Callable[..., Any]) -> str:
    """Return class and method of a page's function: `Sidebar.choose`."""
    return function.__qualname__


def bound_hash(given: Any, visitor: str, secret: str) -> str:
    """
    Return the session hash under which Gradio knows a visitor's browser window.

    Raises:
        InvalidInput: None was given, or one that no page of ours makes.
    """
    if not isinstance(given, str) or not SESSION_HASH.fullmatch(given):
        raise InvalidInput("session_hash must be a short name")
    mac = hmac.digest(secret.encode(), f"{visitor} {given}".encode(), hashlib.sha256)
    return mac.hex()[:32]


def _read_object(raw: bytes) -> dict[str, Any]:
    try:
        call = json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput("the body is not JSON") from exc
    if not isinstance(call, dict) or not set(call) <= KNOWN_FIELDS:
        raise InvalidInput(f"the body must be an object of {', '.join(sorted(KNOWN_FIELDS))}")
    return call


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _checked(check: Check, value: Any, what: str) -> Any:
    try:
        return check(value)
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as exc:
        raise InvalidInput(f"{what} is not of the expected shape") from exc


def _number(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10_000:
        raise InvalidInput(f"{what} must be a number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _typed(value: Any) -> str:
    """What was typed; a field that was never touched holds nothing."""
    return "" if value is None else _text(value)


def _chosen(value: Any) -> str | None:
    return None if value is None else _text(value)


def _flag(value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise ValueError
    return bool(value)


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_CHOICES:
        raise ValueError
    return [_text(each) for each in value]


def _nothing(value: Any) -> None:
    """What the server keeps for a window (gr.State) is never taken from the window."""
    if value is not None:
        raise ValueError


CHECKS: dict[type, Check] = {
    gr.State: _nothing,
    gr.Textbox: _typed,
    gr.Dropdown: _chosen,
    gr.Radio: _chosen,
    gr.Checkbox: _flag,
    gr.CheckboxGroup: _texts,
}


def _event_check(events: set[str]) -> Check:
    if "like" in events:
        return _thumb
    return _choice if events & {"select", "example_select"} else _drop


def _drop(_: Any) -> None:
    return None


def _thumb(value: Any) -> dict[str, Any]:
    """Which message, and whether its thumb points up, down or was taken back (a text)."""
    liked = value["liked"]
    if not isinstance(liked, bool | str):
        raise ValueError
    return {"index": _number(value["index"], "index"), "value": "", "liked": liked}


def _choice(value: Any) -> dict[str, Any]:
    """What was chosen from a list, which suggested question, or whose button in a card."""
    if set(value) in ({"article"}, {"job"}):
        return {name: _text(of) for name, of in value.items()}
    chosen = value["value"]
    if isinstance(chosen, dict):
        chosen = {"text": _text(chosen["text"])}
    else:
        _text(chosen)
    return {"index": _number(value["index"], "index"), "value": chosen}
