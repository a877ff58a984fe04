"""What goes on while the web app serves: old uploads, unfinished turns and idle windows go."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI

from answering.generation import ANSWER_TIMEOUT_S
from bot.services import Services
from bot.settings_log import note_settings
from bot.web.temporary import empty_by_age
from bot.web.windows import Windows
from core.db import Database
from core.errors import DatabaseError
from core.turns import fail_stale_turns

SWEEP_EVERY_S = 60
FORGET_EVERY_S = 5
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
log = logging.getLogger("ratchet.web")


def while_serving(services: Services, uploads: Path, windows: dict[str, Windows]) -> Lifespan:
    """
    Return what FastAPI enters before it serves, and leaves when it stops.

    It opens the database, warms up the embedder, notes changed settings in the audit log, and
    begins what goes on beside the requests; afterwards it closes all that the app holds.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.database.open()
        sweeper = asyncio.create_task(_sweep(services.database, uploads))
        watcher = asyncio.create_task(_watch_windows(windows))
        await asyncio.to_thread(services.embedder.query, "warm up")
        await asyncio.to_thread(note_settings, services.database, services.settings)
        try:
            yield
        finally:
            for task in (sweeper, watcher):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await services.chat.close()
            services.password.close()
            services.vllm.close()
            services.database.close()

    return lifespan


async def _watch_windows(windows: dict[str, Windows]) -> None:
    """Every few seconds: forget windows that fetch nothing; end with a loop that has ended."""
    while True:
        await asyncio.sleep(FORGET_EVERY_S)
        for each in windows.values():
            each.forget_idle()
            if each.is_stopped:
                log.critical("Gradio's queue has stopped; this process ends to be started anew")
                os.kill(os.getpid(), signal.SIGTERM)


async def _sweep(database: Database, uploads: Path) -> None:
    """At the start and every minute: fail turns whose process died, remove old uploads."""
    while True:
        try:
            await asyncio.to_thread(empty_by_age, uploads)
            n_failed = await asyncio.to_thread(_fail_stale, database)
            if n_failed:
                log.warning("%d answers were left unfinished; marked as failed", n_failed)
        except (DatabaseError, OSError) as exc:
            log.warning("not swept: %s", exc)
        await asyncio.sleep(SWEEP_EVERY_S)


def _fail_stale(database: Database) -> int:
    with database.connect() as conn:
        return fail_stale_turns(conn, ANSWER_TIMEOUT_S)
