"""Safe HTML of what others wrote in Markdown: articles with a passage marked, answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from html import escape
from threading import BoundedSemaphore

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

from bot.tables import bound_tables
from core.citations import CITATION
from core.errors import Busy

# Raw HTML is shown as text, and no picture is loaded: articles are written by others.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
# What a model writes: the same without links and headings, so that an answer can lay itself out
# and nothing more. Only citations become links, and they are put in afterwards.
_ANSWER = MarkdownIt("commonmark", {"html": False}).enable("table")
_ANSWER.disable(["image", "link", "autolink", "reference", "heading", "lheading", "hr"])
_CITED = re.compile("\ue000([^\ue001]+)\ue001")  # private characters: no text of others holds them
_PRIVATE = re.compile("[\ue000-\uf8ff]")
NOTE = Markup('<p class="note">{}</p>')
QUOTE = Markup('<blockquote class="passage" id="passage">{}</blockquote>')
MAX_CHARS = 60_000  # of an article that are shown at once
MAX_RENDERS, RENDER_WAIT_S = 2, 10.0  # each keeps a core busy, and the chat needs some
_renders = BoundedSemaphore(MAX_RENDERS)
_NOT_PLAIN = re.compile(r"[^a-zA-Z0-9\s,;?/%]")  # ASCII among these may mean something to Markdown
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)


def plain_in_markdown(text: str) -> str:
    """
    Return text that Markdown shows exactly as it was typed: no markup, links or HTML.

    >>> plain_in_markdown("2 * 3 <b>")
    '2 &#42; 3 &#60;b&#62;'
    """
    shown = _NOT_PLAIN.sub(lambda found: _entity(found[0]), text)
    return _INDENT.sub(lambda found: "&nbsp;" * len(found[0].expandtabs(4)), shown)


def answer_html(text: str, citation: Callable[[str], str]) -> str:
    """
    Return what a model wrote as one line of HTML: an allow-list of tags, no attribute, no link.

    `citation` is given what stands in `[1, 2-4]` and returns the HTML that stands for them, or
    nothing when that is no citation. In one line, Gradio's Markdown takes it for a
    finished block and looks for nothing inside.

    >>> answer_html("**Yes** ![](http://x/y) <i> [1]", lambda bracket: f"<a>{bracket}</a>")
    '<p><strong>Yes</strong> ![](http://x/y) &lt;i&gt; <a>1</a></p>'
    """
    marked = CITATION.sub("\ue000\\1\ue001", _PRIVATE.sub("", text))
    shown = str(_ANSWER.render(marked)).strip().replace("\n", "&#10;")
    for letter in "`$\\":  # these may mean something to Gradio, even inside of HTML
        shown = shown.replace(letter, f"&#{ord(letter)};")
    return _CITED.sub(lambda found: citation(found[1]) or f"[{found[1]}]", shown)


def _plain_code(
    _self: RendererHTML, tokens: Sequence[Token], idx: int, _options: object, _env: object
) -> str:
    """Code without the name of its language: Gradio draws some languages as pictures."""
    return f"<pre><code>{escape(tokens[idx].content)}</code></pre>\n"


for _markdown in (_ANSWER, _MARKDOWN):
    bound_tables(_markdown).add_render_rule("fence", _plain_code)


def _entity(letter: str) -> str:
    return f"&#{ord(letter)};" if ord(letter) < 128 else letter


def article(markdown: str, passage: str) -> tuple[Markup, bool]:
    """
    Return an article as HTML with the passage's blocks marked, and whether it was found there.

    The first marked block has the id `passage`, for a link to jump to. Of a very long article
    only what stands around the passage is shown, and a note says so.

    Raises:
        Busy: Others are shown long articles at this moment.
    """
    if len(markdown) <= MAX_CHARS:
        return _render(markdown, passage)
    lines = passage_lines(markdown, passage)
    shown, found = _render(_around(markdown, lines), "" if lines is None else passage)
    place = "its beginning" if lines is None else "the part around the passage"
    if lines is not None and not found:  # it stands in a line too long to be shown
        place = "the passage"
        shown = QUOTE.format(prose(passage))
    return NOTE.format(f"This article is very long; here is {place}.") + shown, lines is not None


def prose(markdown: str) -> Markup:
    """Return Markdown written by others as safe HTML."""
    return _render(markdown[:MAX_CHARS], "")[0]


@lru_cache(maxsize=64)
def _render(markdown: str, passage: str) -> tuple[Markup, bool]:
    if not _renders.acquire(timeout=RENDER_WAIT_S):
        raise Busy("many articles are opened at this moment; try again in a few seconds", 5)
    try:
        tokens = _MARKDOWN.parse(markdown)
        lines = passage_lines(markdown, passage)
        marked = [token for token in tokens if lines is not None and _touches(token, lines)]
        for n, token in enumerate(marked):
            token.attrJoin("class", "passage")
            if n == 0:
                token.attrSet("id", "passage")
        shown = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
        return Markup(shown), bool(marked)  # noqa: S704 - the parser escapes, and passes no HTML
    finally:
        _renders.release()


def _around(markdown: str, lines: range | None) -> str:
    """Return at most MAX_CHARS around these lines, or from the beginning, in whole lines."""
    before = markdown.split("\n")[: lines.start] if lines is not None else []
    passage_at = sum(len(line) + 1 for line in before)
    wanted = max(0, passage_at - MAX_CHARS // 2)
    # The first line to begin there; the passage's own if those before it are too long.
    next_line = markdown.find("\n", wanted - 1, passage_at) + 1 if wanted else 0
    begin = next_line or (passage_at if wanted else 0)
    part = markdown[begin : begin + MAX_CHARS]
    is_cut_in_line = begin + MAX_CHARS < len(markdown) and "\n" in part
    return part.rpartition("\n")[0] if is_cut_in_line else part


def passage_lines(markdown: str, passage: str) -> range | None:
    """
    Return the lines of an article that hold a passage, None when it is not there (any more).

    Spacing may differ. A part of a long table repeats the header; its rows alone count then.

    >>> passage_lines("# Tea\\n\\nBoil the\\nwater.", "Boil the water.")
    range(2, 4)
    """
    spaced = f" {' '.join(markdown.split())} "
    for wanted in (passage.split(), "\n".join(passage.split("\n")[2:]).split()):
        # A search in text is linear; one word by word is not, with a word that is everywhere.
        at = spaced.find(f" {' '.join(wanted)} ") if wanted else -1
        if at >= 0:
            first = spaced.count(" ", 0, at)
            return _lines_of_words(markdown, first, first + len(wanted) - 1)
    return None


def _lines_of_words(markdown: str, first: int, last: int) -> range:
    """Return the lines from the one that holds word number `first` to that of `last`."""
    n_words, begin = 0, 0
    for number, line in enumerate(markdown.split("\n")):
        before, n_words = n_words, n_words + len(line.split())
        if before <= first < n_words:
            begin = number
        if n_words > last:
            return range(begin, number + 1)
    raise ValueError(f"the text has only {n_words} words")


def _touches(token: Token, lines: range) -> bool:
    # Whole blocks are marked; within a list or table only the items and rows that are meant.
    if token.map is None or token.type not in _MARKED:
        return False
    first, end = token.map
    if token.type == "paragraph_open" and token.level > 0:
        return False
    return first < lines.stop and lines.start < end


_MARKED = {
    "paragraph_open",
    "list_item_open",
    "tr_open",
    "heading_open",
    "fence",
    "code_block",
    "blockquote_open",
}
