"""What the web app's parts are given: one value, made once in `bot.app`."""

from __future__ import annotations

from dataclasses import dataclass

from bot.accounts import AdminDoor
from bot.chat import ChatService
from core.db import Database
from core.settings import Settings
from core.vllm import VllmClient
from retrieval.embed import Embedder


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a page or route may use."""

    settings: Settings
    database: Database
    embedder: Embedder
    chat: ChatService
    vllm: VllmClient
    door: AdminDoor
    company: str  # its name, as customers read it
