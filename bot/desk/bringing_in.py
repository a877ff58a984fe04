"""Bringing articles in from the knowledge page: a folder, a site or files become a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from psycopg import Connection

from bot.desk.cards import CLICKABLE, load_cards, short_name
from bot.desk.jobs import POLL_S, cancel_clicked, request_unless_open
from bot.desk.uploads import keep_uploads
from bot.services import Services
from bot.web.handlers import EVENT, Update, handler
from core import audit
from core.attempts import list_attempts
from core.audit import Action
from core.errors import InvalidInput
from core.jobs import Job, JobState, list_jobs
from core.people import Permission, Person
from retrieval.links import canonical, is_url, without_query
from retrieval.load import MAX_BYTES

CARDS = load_cards("knowledge")
INGEST = "ingest"
MAX_URL_CHARS = 2000
MAX_GROUP_CHARS = 60
FILES_LABEL = f"Files, at most {MAX_BYTES // 2**20} MB each"


class BringingIn:
    """The three ways in, and how far the newest ingest is; `timer` ticks while it goes on."""

    def __init__(self, services: Services) -> None:
        self.settings = services.settings
        self.database = services.database
        self.timer = gr.Timer(POLL_S, active=False)
        self._lay_out()
        self._wire()

    def _lay_out(self) -> None:
        with gr.Accordion("Bring articles in", open=False, elem_id="desk-bring-in"):
            with gr.Row(elem_classes="bring-row"):
                self.url = gr.Textbox(
                    label="A site: its address or its sitemap’s",
                    placeholder="https://example.com/help/",
                    max_length=MAX_URL_CHARS,
                    elem_id="desk-site",
                    scale=3,
                )
                self.by_url = gr.Button("Bring in the site", size="md", elem_id="desk-by-url")
                self.by_folder = gr.Button(
                    "Bring in the articles folder again", size="md", elem_id="desk-by-folder"
                )
            self.files = gr.File(
                label=FILES_LABEL, file_count="multiple", height=140, elem_id="desk-files"
            )
            self.audience = gr.Dropdown(
                ["everyone", "staff"],
                value="everyone",
                allow_custom_value=True,
                label="Who may read them?",
                info="Everyone, or the name of a group.",
                elem_id="desk-audience",
            )
        self.card = gr.HTML(elem_id="desk-ingest", **CLICKABLE)

    def _wire(self) -> None:
        self.outputs = [self.timer, self.card, self.url, self.files]
        self.by_folder.click(self.ingest_folder, [self.audience], self.outputs, **EVENT)
        self.by_url.click(self.ingest_site, [self.url, self.audience], self.outputs, **EVENT)
        self.url.submit(self.ingest_site, [self.url, self.audience], self.outputs, **EVENT)
        self.files.upload(self.ingest_files, [self.files, self.audience], self.outputs, **EVENT)
        self.card.select(self.cancel_ingest, None, self.outputs, **EVENT)

    @handler(Permission.EDIT_KNOWLEDGE)
    def ingest_folder(self, person: Person, audience: str) -> Update:
        """Bring the company's articles folder up to date, what is gone from it included."""
        folder = self.settings.company / "articles"
        if not folder.is_dir():
            raise InvalidInput(f"there is no folder {folder}; make it or bring in files")
        return self._start(person, [str(folder)], audience)

    @handler(Permission.EDIT_KNOWLEDGE)
    def ingest_site(self, person: Person, url: str, audience: str) -> Update:
        """Bring a site in, starting from an address."""
        address = url.strip()
        if not is_url(address) or len(address) > MAX_URL_CHARS:
            raise InvalidInput("write the site’s whole address, like https://example.com/help/")
        if not canonical(address, address):
            raise InvalidInput("the site’s address can’t be used; it may hold no name or password")
        return {**self._start(person, [address], audience), self.url: ""}

    @handler(Permission.EDIT_KNOWLEDGE)
    def ingest_files(self, person: Person, files: list[str], audience: str) -> Update:
        """Keep what was uploaded and bring it in."""
        kept = keep_uploads(self.settings, files or [])
        return {**self._start(person, kept, audience), self.files: None}

    def _start(self, person: Person, sources: Sequence[str], audience: str) -> Update:
        """Queue the ingest by a row, unless the very same waits or works already."""
        wanted = {"sources": list(sources), "audience": _group(audience)}
        with self.database.connect() as conn:
            job = request_unless_open(conn, INGEST, wanted)
            if job:
                noted = wanted | {"sources": [without_query(source) for source in sources]}
                audit.record(conn, person.name, Action.INGEST_REQUESTED, job.id, **noted)
            return self.show_newest(conn)

    @handler(Permission.EDIT_KNOWLEDGE)
    def cancel_ingest(self, person: Person, event: gr.EventData) -> Update:
        """End an ingest; what it brought in so far stays."""
        with self.database.connect() as conn:
            cancel_clicked(conn, event, person, INGEST)
            return self.show_newest(conn)

    def show_newest(self, conn: Connection[Any]) -> Update:
        """Show the ingests that go on, else the newest; look again only while one goes on."""
        jobs = list_jobs(conn, INGEST, 10)
        going_on = sorted(
            (job for job in jobs if job.is_open), key=lambda job: job.state is JobState.QUEUED
        )
        shown = [(job, _title(job), list_attempts(conn, job.id)) for job in going_on or jobs[:1]]
        return {
            self.card: CARDS.ingest_cards(shown),
            self.timer: gr.Timer(active=bool(going_on)),
        }


def _title(job: Job) -> str:
    sources = ", ".join(map(short_name, job.request.get("sources", [])))
    return f"Bringing in {sources[:200]}"


def _group(audience: str) -> str:
    name = " ".join(str(audience or "").split())
    if not name or len(name) > MAX_GROUP_CHARS:
        raise InvalidInput("choose who may read the articles: everyone, or a group’s short name")
    return name
