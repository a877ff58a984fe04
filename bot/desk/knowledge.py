"""The knowledge page: the articles, what a question finds in them, bringing in and removing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import gradio as gr
from psycopg import Connection

from bot.desk.articles import article_chunks, find_articles, get_article
from bot.desk.bringing_in import BringingIn
from bot.desk.door import require_desk
from bot.desk.knowledge_cards import article_card, article_table, page_line, tried_card
from bot.desk.markup import PLAIN, status, text
from bot.desk.uploads import forget_upload
from bot.door import QUIET, Update, forgiving
from bot.services import Services
from bot.web.people import ADMIN, require_admin
from core import audit
from core.audit import Action
from core.errors import InvalidInput, RatchetError
from retrieval.adoption import current_options
from retrieval.options import Scope
from retrieval.search import search
from retrieval.store import delete_document

N_TRIED = 8
# A click on a title, told to the server as the article's id; nothing else of the table is live.
OPEN_BY_CLICK = """
element.addEventListener("click", (event) => {
  const title = event.target.closest("[data-article]");
  if (title) trigger("select", { article: title.dataset.article });
});
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """What the list shows, and the article that is open below it."""

    words: str = ""
    page: int = 0
    article_id: UUID | None = None


class KnowledgePage:
    """The page's components and what happens when they are used."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.database = services.database
        self._lay_out()
        self._wire()

    def _lay_out(self) -> None:
        self.listed = gr.State(Listed())
        with gr.Row(elem_classes="bring-row"):
            self.question = gr.Textbox(
                label="Try a question",
                placeholder="What a customer would ask",
                max_length=2000,
                elem_id="desk-question",
                scale=3,
            )
            self.try_it = gr.Button("Find passages", variant="primary", elem_id="desk-try")
        self.tried = gr.HTML(elem_id="desk-tried", **PLAIN)
        self.bringing = BringingIn(self.services)
        self.said = gr.HTML(visible=False, elem_id="desk-knowledge-said", **PLAIN)
        with gr.Row(elem_classes="queue-bar"):
            self.line = gr.HTML(elem_id="desk-articles-line", **PLAIN)
            self.words = gr.Textbox(
                placeholder="Filter by title, source, group",
                show_label=False,
                container=False,
                max_length=200,
                elem_id="desk-filter",
            )
            self.back = gr.Button("Back", size="md", elem_id="desk-articles-back")
            self.next = gr.Button("Next", size="md", elem_id="desk-articles-next")
        self.table = gr.HTML(elem_id="desk-articles", **{**PLAIN, "js_on_load": OPEN_BY_CLICK})
        with gr.Column(visible=False, elem_id="desk-opened") as self.opened:
            self.card = gr.HTML(elem_id="desk-article", **PLAIN)
            with gr.Row(elem_classes="deploy-row"):
                self.close = gr.Button("Close", size="md", elem_id="desk-close")
                self.delete = gr.Button("Remove …", size="md", elem_id="desk-delete")
            with gr.Column(visible=False, elem_classes="confirm") as self.confirm:
                self.asked = gr.HTML(elem_id="desk-delete-asked", **PLAIN)
                with gr.Row():
                    self.yes = gr.Button("Yes, remove it", variant="stop", elem_id="desk-gone")
                    self.no = gr.Button("Cancel", elem_id="desk-keep")

    def _wire(self) -> None:
        listing = [self.listed, self.line, self.table, self.back, self.next]
        opening = [self.listed, self.opened, self.card, self.confirm, self.asked, self.said]
        everything = [*dict.fromkeys([*listing, *opening, *self.bringing.outputs])]
        self.everything = everything
        self.words.change(  # `input` misses what is pasted
            self.show_found, [self.listed, self.words], listing,
            **{**QUIET, "trigger_mode": "always_last"},
        )  # fmt: skip
        self.back.click(self.show_back, [self.listed], listing, **QUIET)
        self.next.click(self.show_next, [self.listed], listing, **QUIET)
        self.table.select(self.open_article, [self.listed], opening, **QUIET)
        self.close.click(self.close_article, [self.listed], opening, **QUIET)
        self.delete.click(self.ask_delete, [self.listed], opening, **QUIET)
        self.no.click(self.keep_article, None, opening, **QUIET)
        self.yes.click(self.delete_article, [self.listed], everything, **QUIET)
        for event in (self.try_it.click, self.question.submit):
            event(self.try_question, [self.question], [self.tried], **QUIET)
        self.bringing.timer.tick(self.poll, [self.listed], everything, **QUIET)

    def fill(self, desk: gr.Blocks, tab: gr.Tab) -> None:
        """Show the articles when the page opens, and as they are now when the tab is chosen."""
        desk.load(self.show_articles, [self.listed], self.everything, **QUIET)
        tab.select(self.show_articles, [self.listed], self.everything, **QUIET)

    @forgiving
    def show_articles(self, listed: Listed, request: gr.Request) -> Update:
        """Show the list as it is now, and how far the newest ingest is."""
        require_desk(request)
        with self.database.connect() as conn:
            return self._list(conn, listed) | self.bringing.standing(conn)

    @forgiving
    def show_found(self, listed: Listed, words: str, request: gr.Request) -> Update:
        """Show what holds the words typed."""
        require_desk(request)
        with self.database.connect() as conn:
            return self._list(conn, replace(listed, words=words[:200], page=0))

    @forgiving
    def show_next(self, listed: Listed, request: gr.Request) -> Update:
        """Turn to the next page."""
        require_desk(request)
        with self.database.connect() as conn:
            return self._list(conn, replace(listed, page=listed.page + 1))

    @forgiving
    def show_back(self, listed: Listed, request: gr.Request) -> Update:
        """Turn a page back."""
        require_desk(request)
        with self.database.connect() as conn:
            return self._list(conn, replace(listed, page=listed.page - 1))

    @forgiving
    def open_article(self, listed: Listed, event: gr.EventData, request: gr.Request) -> Update:
        """Show the article clicked, as the search has it."""
        require_desk(request)
        article_id = _article_id(event)
        with self.database.connect() as conn:
            article = get_article(conn, article_id)
            card = article_card(article, article_chunks(conn, article_id))
        return {
            self.listed: replace(listed, article_id=article_id),
            self.opened: gr.Column(visible=True),
            self.card: card,
            self.confirm: gr.Column(visible=False),
            self.said: gr.HTML(visible=False),
        }

    @forgiving
    def close_article(self, listed: Listed, request: gr.Request) -> Update:
        """Show the list alone."""
        require_desk(request)
        return {
            self.listed: replace(listed, article_id=None),
            self.opened: gr.Column(visible=False),
        }

    @forgiving
    def ask_delete(self, listed: Listed, request: gr.Request) -> Update:
        """Say what removing the open article does and does not do."""
        require_desk(request)
        with self.database.connect() as conn:
            article = get_article(conn, _opened(listed))
        return {
            self.confirm: gr.Column(visible=True),
            self.asked: (
                f"<p><b>Remove “{text(article.title)}”?</b> The chat no longer finds it. A file in "
                "the articles folder or a page of a site stays where it is, and comes back when "
                "that is brought in again.</p>"
            ),
        }

    @forgiving
    def keep_article(self, request: gr.Request) -> Update:
        """Take the question back."""
        require_desk(request)
        return {self.confirm: gr.Column(visible=False)}

    @forgiving
    def delete_article(self, listed: Listed, request: gr.Request) -> Update:
        """Remove the open article with its passages, and its file if it was uploaded."""
        require_desk(request)
        with self.database.connect() as conn:
            article = get_article(conn, _opened(listed))
            delete_document(conn, article.collection, article.uri)
            audit.record(conn, ADMIN, Action.ARTICLE_REMOVED, article.uri)
        forget_upload(self.services.settings, article.uri)
        with self.database.connect() as conn:
            shown = self._list(conn, replace(listed, article_id=None))
        return shown | {
            self.opened: gr.Column(visible=False),
            self.confirm: gr.Column(visible=False),
            self.said: gr.HTML(status(f"Removed “{article.title}”."), visible=True),
        }

    @forgiving
    def try_question(self, question: str, request: gr.Request) -> Update:
        """Search as the chat does, and show what it would not show: why each passage is there."""
        require_desk(request)
        asked = question.strip()
        if not asked:
            raise InvalidInput("write a question first")
        settings = self.services.settings
        with self.database.connect() as conn:
            chat = current_options(conn, settings)
        more, scope = replace(chat, limit=N_TRIED), Scope.of(settings)
        found = search(self.database, self.services.embedder, asked, more, scope)
        return {self.tried: tried_card(asked, found, chat)}

    def poll(self, listed: Listed, request: gr.Request) -> Update:
        """Show how far the ingest is; with it the list grows."""
        try:
            require_admin(request)
            with self.database.connect() as conn:
                return self._list(conn, listed) | self.bringing.standing(conn)
        except RatchetError as exc:
            # A toast at every tick would bury the page; a line says it until a tick goes well.
            return {self.said: gr.HTML(status(str(exc)), visible=True)}

    def _list(self, conn: Connection[Any], listed: Listed) -> Update:
        found = find_articles(conn, listed.words, listed.page)
        return {
            self.listed: replace(listed, page=found.page),
            self.line: page_line(found),
            self.table: article_table(found, listed.words),
            self.back: gr.Button(interactive=found.page > 0),
            self.next: gr.Button(interactive=found.page + 1 < found.n_pages),
        }


def _article_id(event: gr.EventData) -> UUID:
    try:
        return UUID(str(event._data["article"]))
    except (KeyError, TypeError, ValueError) as exc:
        raise InvalidInput("click an article’s title") from exc


def _opened(listed: Listed) -> UUID:
    if listed.article_id is None:
        raise InvalidInput("no article is open; click its title")
    return listed.article_id
