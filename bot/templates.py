"""The templates of all pages: values that they are given are escaped, a missing one is an error."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES = Environment(
    loader=PackageLoader("bot"),  # bot/templates/
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(name: str, **values: object) -> Markup:
    """
    Return a template of bot/templates/ filled in.

    Every value is escaped but one that is `Markup`: what `render` itself returned, and HTML that
    `bot.html` made of Markdown.
    """
    filled = _TEMPLATES.get_template(name).render(values)
    return Markup(filled)  # noqa: S704 - the template has escaped it


def macros(name: str, **functions: object) -> Any:
    """
    Return a template as a module: each of its macros makes a piece of HTML, likewise escaped.

    The macros may call what is given here.
    """
    return _TEMPLATES.get_template(name, globals=functions).module
