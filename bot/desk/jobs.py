"""Jobs as the pages ask for them and cancel them; workers carry them out."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import UUID

import gradio as gr
from psycopg import Connection

from core.errors import InvalidInput, NotFound
from core.jobs import Job, cancel_job, get_job, request_once
from core.people import Person

POLL_S = 2.0  # between two looks at a job that is open; with none open nobody looks


def request_unless_open(conn: Connection[Any], kind: str, request: dict[str, Any]) -> Job | None:
    """Queue a job; None when the very same waits or is carried out already."""
    key = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    return request_once(conn, kind, request, key)


def cancel_clicked(conn: Connection[Any], event: gr.EventData, person: Person, kind: str) -> Job:
    """
    Ask for the end of the job whose Cancel button was clicked, and return it.

    Raises:
        InvalidInput: No button names it, or it is over.
        NotFound: No job of this kind has the id: who may cancel one kind may not cancel all.
    """
    try:
        job_id = UUID(str(event._data["job"]))
    except (KeyError, TypeError, ValueError) as exc:
        raise InvalidInput("click the Cancel button of a job") from exc
    if get_job(conn, job_id).kind != kind:
        raise NotFound(f"no {kind} job {job_id}; reload the page")
    return cancel_job(conn, job_id, person.name)
