"""Safe HTML: the shell of plain pages, articles with a passage marked, text inside Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import escape

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

CITATION = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")

# Raw HTML is shown as text, and no picture is loaded: articles are written by others.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
# What a model writes: the same without links and headings, so that an answer can lay itself out
# and nothing more. Only citations become links, and they are put in afterwards.
_ANSWER = MarkdownIt("commonmark", {"html": False}).enable("table")
_ANSWER.disable(["image", "link", "autolink", "reference", "heading", "lheading", "hr"])
_CITED = re.compile("\ue000([0-9, ]+)\ue001")  # private characters: no text of others holds them
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_NOT_PLAIN = re.compile(r"[^a-zA-Z0-9\s,;?/%]")  # ASCII among these may mean something to Markdown
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)


def page(title: str, body: str, *, company: str) -> str:
    """Return a whole page; `body` is HTML made here, `title` and `company` are escaped."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · {escape(company)}</title>"
        '<link rel="stylesheet" href="/style.css"></head>'
        f'<body class="plain-page"><main>{body}</main></body></html>'
    )


def plain_in_markdown(text: str) -> str:
    """
    Return text that Markdown shows exactly as it was typed: no markup, links or HTML.

    >>> plain_in_markdown("2 * 3 <b>")
    '2 &#42; 3 &#60;b&#62;'
    """
    shown = _NOT_PLAIN.sub(lambda found: _entity(found[0]), text)
    return _INDENT.sub(lambda found: "&nbsp;" * len(found[0].expandtabs(4)), shown)


def answer_html(text: str, citation: Callable[[str], str | None]) -> str:
    """
    Return what a model wrote as one line of HTML: an allow-list of tags, no attribute, no link.

    `citation` is given the numbers in `[1, 2]` and returns the HTML that stands for them, or
    None when the answer cites no such passage. In one line, Gradio's Markdown takes it for a
    finished block and looks for nothing inside.

    >>> answer_html("**Yes** ![](http://x/y) <i> [1]", lambda numbers: f"<a>{numbers}</a>")
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
    _markdown.add_render_rule("fence", _plain_code)


def _entity(letter: str) -> str:
    return f"&#{ord(letter)};" if ord(letter) < 128 else letter


def article(markdown: str, passage: str) -> tuple[str, bool]:
    """
    Return an article as HTML with the passage's blocks marked, and whether it was found there.

    The first marked block has the id `passage`, for a link to jump to.
    """
    tokens = _MARKDOWN.parse(markdown)
    lines = passage_lines(markdown, passage)
    marked = [token for token in tokens if lines is not None and _touches(token, lines)]
    for n, token in enumerate(marked):
        token.attrJoin("class", "passage")
        if n == 0:
            token.attrSet("id", "passage")
    return str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})), bool(marked)


def prose(markdown: str) -> str:
    """Return Markdown written by others as safe HTML."""
    return str(_MARKDOWN.render(markdown))


def passage_lines(markdown: str, passage: str) -> range | None:
    """
    Return the lines of an article that hold a passage, None when it is not there (any more).

    Spacing may differ. A part of a long table repeats the header; its rows alone count then.

    >>> passage_lines("# Tea\\n\\nBoil the\\nwater.", "Boil the water.")
    range(2, 4)
    """
    words, line_of_word = [], []
    for number, line in enumerate(markdown.split("\n")):
        for word in line.split():
            words.append(word)
            line_of_word.append(number)
    for wanted in (passage.split(), "\n".join(passage.split("\n")[2:]).split()):
        if wanted and (first := _find(words, wanted)) is not None:
            return range(line_of_word[first], line_of_word[first + len(wanted) - 1] + 1)
    return None


def _find(words: list[str], wanted: list[str]) -> int | None:
    starts = (n for n, word in enumerate(words) if word == wanted[0])
    return next((n for n in starts if words[n : n + len(wanted)] == wanted), None)


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
