"""What each handler of a page begins with: who calls, may they, and errors told in one line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from html import escape
from typing import Any, TypeVar

import gradio as gr

from bot.web.people import person_of
from core.errors import NotAllowed, RatchetError
from core.people import Permission

Update = dict[Any, Any]  # which component gets which value
# For every event: the call is not listed in Gradio's API, and no spinner covers what is shown.
EVENT: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
F = TypeVar("F", bound=Callable[..., Any])


def handler(
    permission: Permission, *, on_problem: Callable[..., Update] | None = None
) -> Callable[[Callable[..., Update | None]], Callable[..., Update | None]]:
    """
    Make a method of a page the handler of an event, for people who have the permission.

    The method is given the person who calls, the values of the event's inputs, and Gradio's
    event data and request where it names them, the request last. For anybody else it is not
    run, and they get one line: Gradio lets every client call "private" handlers.

    An expected error becomes one line on the page, which stays as it is otherwise. A page that
    polls would show such a line at every tick: it names a method, `on_problem`, that is given
    the error and the inputs' values and returns what to show instead.
    """

    def decorate(method: Callable[..., Update | None]) -> Callable[..., Update | None]:
        @functools.wraps(method)
        def run(page: Any, *given: Any) -> Update | None:
            *values, request = given
            try:
                return method(page, *_arguments(method, permission, values, request))
            except RatchetError as exc:
                if on_problem is not None:
                    return on_problem(page, exc, *values)
                return say(exc)

        return _declared(run, method, permission)

    return decorate


def stream_handler(
    permission: Permission,
) -> Callable[[Callable[..., AsyncGenerator[Update, None]]], Callable[..., AsyncIterator[Update]]]:
    """Like `handler`, for a method that yields one update after another."""

    def decorate(
        method: Callable[..., AsyncGenerator[Update, None]],
    ) -> Callable[..., AsyncIterator[Update]]:
        @functools.wraps(method)
        async def run(page: Any, *given: Any) -> AsyncIterator[Update]:
            *values, request = given
            try:
                updates = method(page, *_arguments(method, permission, values, request))
                async with aclosing(updates):
                    async for update in updates:
                        yield update
            except RatchetError as exc:
                yield say(exc)

        return _declared(run, method, permission)

    return decorate


def permission_of(function: Callable[..., Any]) -> Permission | None:
    """Return what a handler needs of who calls it; None for a function that is no handler."""
    found: Permission | None = getattr(function, "permission", None)
    return found


def say(problem: RatchetError) -> Update:
    """
    Show what went wrong as one line on the page, never as a traceback; return no change.

    Raises:
        gr.Error: It is a refusal: what would follow the event in the browser must not run.
    """
    line = str(problem)
    shown = escape(f"{line[:1].upper()}{line[1:]}.")
    if isinstance(problem, NotAllowed):
        raise gr.Error(shown, title="Not done", print_exception=False) from problem
    gr.Warning(shown, title="Not done")
    nothing: Update = gr.skip()
    return nothing


def _arguments(
    method: Callable[..., Any], permission: Permission, values: list[Any], request: gr.Request
) -> list[Any]:
    """Return what a method is called with, after seeing that the person may do it."""
    person = person_of(request)
    person.require(permission)
    is_wanted = "request" in inspect.signature(method).parameters
    return [person, *values, *([request] if is_wanted else [])]


def _declared(run: F, method: Callable[..., Any], permission: Permission) -> F:
    """Give a wrapper the signature that Gradio reads: the method's inputs and a request."""
    page, _, *inputs = inspect.signature(method).parameters.values()
    if not inputs or inputs[-1].name != "request":
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        inputs.append(inspect.Parameter("request", kind, annotation=gr.Request))
    run.__annotations__ = {each.name: each.annotation for each in inputs}
    vars(run).update(__signature__=inspect.Signature([page, *inputs]), permission=permission)
    return run
