"""Answers that a hostile article had the model write: nothing in them runs, loads or leads away."""

import re

import pytest
from playwright.sync_api import expect

from bot.chat.view import linked
from bot.html import article, prose
from tests.builders import make_passage, make_turn
from tests.web import visitor_of

HOSTILE = [
    "```mermaid\ngraph TD; A[<img src=http://evil.example.com/x>]\n```",
    "~~~mermaid\nsequenceDiagram\nA->>B: hi\n~~~",
    '```html\n<script src="http://evil.example.com/x"></script>\n```',
    "![secret](http://evil.example.com/x.png)",
    "![x][1]\n\n[1]: http://evil.example.com/x.png",
    "[click](http://evil.example.com/)",
    "[click](javascript:window.ran=1)",
    "[click][1]\n\n[1]: http://evil.example.com",
    "<http://evil.example.com/>",
    "<img src=x onerror=window.ran=1>",
    "<svg><script>window.ran=1</script></svg>",
    "<iframe src=http://evil.example.com></iframe>",
    "<details open ontoggle=window.ran=1>",
    "&lt;img src=x onerror=window.ran=1&gt;",
    "$$\\href{http://evil.example.com}{x}$$ \\(\\url{http://evil.example.com}\\)",
    "\ue0001\ue001 \ue000<img src=x>\ue001",
    "[1](http://evil.example.com) [1]: http://evil.example.com",
    '[1] "onmouseover=window.ran=1',
    "# Not a heading\n\nText\n===\n\n---",
    "| a | b |\n|---|---|\n| ![](http://evil.example.com) | <b>x</b> |",
    "- a\n\n  ```mermaid\n  graph TD\n  ```",
    "`<img src=x>` and `` `mermaid` ``",
]
ALLOWED = {
    "div", "p", "ul", "ol", "li", "strong", "em", "code", "pre", "blockquote", "br",
    "table", "thead", "tbody", "tr", "th", "td", "a",
}  # fmt: skip
TAG = re.compile(r"<([a-zA-Z][\w-]*)([^>]*)>")


@pytest.mark.parametrize("text", HOSTILE)
def test_an_answer_holds_tags_of_the_list_and_no_attribute_but_ours(text):
    """A list of what is allowed needs no knowledge of what comes next."""
    with_source = make_turn_id()
    shown = linked(text, with_source, [make_passage()])

    for name, attributes in TAG.findall(shown):
        assert name in ALLOWED, shown
        if name == "a":
            assert f'href="/turns/{with_source}/passages/1#passage"' in attributes
        else:
            assert attributes.strip() in ("", 'class="answer"', *ALIGNED, *NUMBERED), shown
    assert "\n" not in shown


ALIGNED = [f'style="text-align:{side}"' for side in ("left", "right", "center")]
NUMBERED = [f'start="{n}"' for n in range(10)]


def make_turn_id():
    """Any id."""
    return "00000000-0000-0000-0000-00000000000f"


@pytest.mark.parametrize("text", HOSTILE)
def test_articles_are_shown_without_scripts_and_pictures_too(text):
    """A site that is ingested is written by others."""
    for shown in (prose(text), article(text, "")[0]):
        for name, attributes in TAG.findall(shown):
            assert name not in ("script", "img", "svg", "iframe", "object", "style")
            assert " on" not in attributes.lower()
        assert "javascript:" not in re.findall(r'href="([^"]*)"', shown)
        assert "language-mermaid" not in shown


def test_a_browser_fetches_nothing_and_runs_nothing(page, web):
    """What the page's own script makes of it is what counts."""
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(web.url)
    expect(page.locator("#composer textarea")).to_be_visible(timeout=20_000)
    visitor = page.evaluate("document.cookie") or None
    assert visitor is None  # scripts can't read who the visitor is
    owner = visitor_of(page)
    with web.database.connect() as conn:
        conversation = None
        for position, text in enumerate(HOSTILE):
            turn = make_turn(
                conn, owner_id=owner, answer=text, position=position, conversation_id=conversation
            )
            conversation = turn.conversation_id
    page.goto(f"{web.url}/?c={conversation}")
    expect(page.locator("#chat .bot-row")).to_have_count(len(HOSTILE), timeout=20_000)
    page.wait_for_load_state("networkidle")

    assert [] == [url for url in asked if not url.startswith((web.url, "data:", "blob:"))]
    assert page.evaluate("window.ran") is None
    chat = page.locator("#chat .bot-row .answer")
    assert 0 == chat.locator("img, svg, iframe, script, .mermaid, .katex").count()
    links = chat.locator("a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert all(re.fullmatch(r"/turns/[0-9a-f-]{36}/passages/1#passage", href) for href in links)
