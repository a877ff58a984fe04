"""Other sites' pages may call the chat where the settings name them, and never the desk."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from bot.web.policy import DESK


class ChatCors(CORSMiddleware):
    """Starlette's CORS for all but the desk: a hole in a shop's page must not promote adapters."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["path"].startswith(DESK):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)
