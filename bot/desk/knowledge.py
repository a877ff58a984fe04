"""The knowledge page: the articles, what a question finds in them, bringing in and removing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import gradio as gr
from psycopg import Connection

from bot.desk.bringing_in import BringingIn
from bot.desk.cards import CLICKABLE, PLAIN, load_cards, say_in_line, status_line
from bot.desk.uploads import forget_upload
from bot.services import Services
from bot.web.handlers import EVENT, Update, handler
from core import audit
from core.audit import Action
from core.errors import InvalidInput
from core.people import Permission, Person
from retrieval.adoption import current_options
from retrieval.articles import article_chunks, find_articles, get_article
from retrieval.options import Scope
from retrieval.search import search
from retrieval.store import delete_document

CARDS = load_cards("knowledge")
N_TRIED = 8


@dataclass(frozen=True, slots=True)
class ArticleSelection:
    """What the list is narrowed to, its page, and the article that is open below it."""

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
        self.selection = gr.State(ArticleSelection())
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
        self.table = gr.HTML(elem_id="desk-articles", **CLICKABLE)
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
        listing = [self.selection, self.line, self.table, self.back, self.next]
        opening = [self.selection, self.opened, self.card, self.confirm, self.asked, self.said]
        everything = [*dict.fromkeys([*listing, *opening, *self.bringing.outputs])]
        self.everything = everything
        self.words.change(  # `input` misses what is pasted
            self.show_found, [self.selection, self.words], listing,
            **{**EVENT, "trigger_mode": "always_last"},
        )  # fmt: skip
        self.back.click(self.show_back, [self.selection], listing, **EVENT)
        self.next.click(self.show_next, [self.selection], listing, **EVENT)
        self.table.select(self.open_article, [self.selection], opening, **EVENT)
        self.close.click(self.close_article, [self.selection], opening, **EVENT)
        self.delete.click(self.ask_delete, [self.selection], opening, **EVENT)
        self.no.click(self.keep_article, None, opening, **EVENT)
        self.yes.click(self.delete_article, [self.selection], everything, **EVENT)
        for event in (self.try_it.click, self.question.submit):
            event(self.try_question, [self.question], [self.tried], **EVENT)
        self.bringing.timer.tick(self.poll, [self.selection], everything, **EVENT)

    def fill(self, desk: gr.Blocks, tab: gr.Tab) -> None:
        """Show the articles when the page opens, and as they are now when the tab is chosen."""
        desk.load(self.show_articles, [self.selection], self.everything, **EVENT)
        tab.select(self.show_articles, [self.selection], self.everything, **EVENT)

    @handler(Permission.EDIT_KNOWLEDGE)
    def show_articles(self, person: Person, selection: ArticleSelection) -> Update:
        """Show the list as it is now, and how far the newest ingest is."""
        with self.database.connect() as conn:
            return self._list(conn, selection) | self.bringing.show_newest(conn)

    @handler(Permission.EDIT_KNOWLEDGE, on_problem=say_in_line)
    def poll(self, person: Person, selection: ArticleSelection) -> Update:
        """Show how far the ingest is; with it the list grows."""
        with self.database.connect() as conn:
            return self._list(conn, selection) | self.bringing.show_newest(conn)

    @handler(Permission.EDIT_KNOWLEDGE)
    def show_found(self, person: Person, selection: ArticleSelection, typed: str) -> Update:
        """Show what holds the words typed."""
        with self.database.connect() as conn:
            return self._list(conn, replace(selection, words=typed[:200], page=0))

    @handler(Permission.EDIT_KNOWLEDGE)
    def show_next(self, person: Person, selection: ArticleSelection) -> Update:
        """Turn to the next page."""
        with self.database.connect() as conn:
            return self._list(conn, replace(selection, page=selection.page + 1))

    @handler(Permission.EDIT_KNOWLEDGE)
    def show_back(self, person: Person, selection: ArticleSelection) -> Update:
        """Turn a page back."""
        with self.database.connect() as conn:
            return self._list(conn, replace(selection, page=selection.page - 1))

    @handler(Permission.EDIT_KNOWLEDGE)
    def open_article(
        self, person: Person, selection: ArticleSelection, event: gr.EventData
    ) -> Update:
        """Show the article clicked, as the search has it."""
        article_id = _clicked_id(event)
        with self.database.connect() as conn:
            article, chunks = get_article(conn, article_id), article_chunks(conn, article_id)
        return {
            self.selection: replace(selection, article_id=article_id),
            self.opened: gr.Column(visible=True),
            self.card: CARDS.article_card(article, chunks),
            self.confirm: gr.Column(visible=False),
            self.said: status_line(""),
        }

    @handler(Permission.EDIT_KNOWLEDGE)
    def close_article(self, person: Person, selection: ArticleSelection) -> Update:
        """Show the list alone."""
        return {
            self.selection: replace(selection, article_id=None),
            self.opened: gr.Column(visible=False),
        }

    @handler(Permission.EDIT_KNOWLEDGE)
    def ask_delete(self, person: Person, selection: ArticleSelection) -> Update:
        """Say what removing the open article does and does not do."""
        with self.database.connect() as conn:
            article = get_article(conn, _open_id(selection))
        return {
            self.confirm: gr.Column(visible=True),
            self.asked: CARDS.removal_question(article),
        }

    @handler(Permission.EDIT_KNOWLEDGE)
    def keep_article(self, person: Person) -> Update:
        """Take the question back."""
        return {self.confirm: gr.Column(visible=False)}

    @handler(Permission.EDIT_KNOWLEDGE)
    def delete_article(self, person: Person, selection: ArticleSelection) -> Update:
        """Remove the open article with its passages, and its file if it was uploaded."""
        with self.database.connect() as conn:
            article = get_article(conn, _open_id(selection))
            delete_document(conn, article.collection, article.uri)
            audit.record(conn, person.name, Action.ARTICLE_REMOVED, article.uri)
        forget_upload(self.services.settings, article.uri)
        with self.database.connect() as conn:
            listed = self._list(conn, replace(selection, article_id=None))
        return listed | {
            self.opened: gr.Column(visible=False),
            self.confirm: gr.Column(visible=False),
            self.said: status_line(f"Removed “{article.title}”."),
        }

    @handler(Permission.EDIT_KNOWLEDGE)
    def try_question(self, person: Person, question: str) -> Update:
        """Search as the chat does, and show what it would not show: why each passage is there."""
        asked = question.strip()
        if not asked:
            raise InvalidInput("write a question first")
        settings = self.services.settings
        with self.database.connect() as conn:
            options = current_options(conn, settings)
        more = replace(options, limit=N_TRIED)
        found = search(self.database, self.services.embedder, asked, more, Scope.of(settings))
        return {self.tried: CARDS.tried_card(asked, found, options)}

    def _list(self, conn: Connection[Any], selection: ArticleSelection) -> Update:
        found = find_articles(conn, selection.words, selection.page)
        return {
            self.selection: replace(selection, page=found.page),
            self.line: CARDS.article_line(found),
            self.table: CARDS.article_table(found, selection.words),
            self.back: gr.Button(interactive=found.page > 0),
            self.next: gr.Button(interactive=found.page + 1 < found.n_pages),
        }


def _clicked_id(event: gr.EventData) -> UUID:
    try:
        return UUID(str(event._data["article"]))
    except (KeyError, TypeError, ValueError) as exc:
        raise InvalidInput("click an article’s title") from exc


def _open_id(selection: ArticleSelection) -> UUID:
    if selection.article_id is None:
        raise InvalidInput("no article is open; click its title")
    return selection.article_id
