"""What the web app's parts are given: one value, made once in `bot.app`."""

from __future__ import annotations

from dataclasses import dataclass

from bot.chat.service import ChatService
from bot.web.admission import Admission
from bot.web.limits import Meter
from bot.web.listeners import Listeners
from bot.web.password import PasswordCheck
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
    password: PasswordCheck
    meter: Meter
    admission: Admission
    listeners: Listeners
    company: str  # its name, as customers read it
