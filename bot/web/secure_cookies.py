"""Marks cookies that are set over HTTPS, so that browsers send them over nothing else."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class SecureCookies:
    """
    ASGI middleware that marks cookies `Secure` where the browser speaks HTTPS.

    The scheme is that of the request, which a trusted proxy tells; on a laptop it is plain HTTP
    and such a cookie would be lost.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope.get("scheme") != "https":
            await self.app(scope, receive, send)
            return

        async def send_secure(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, value + b"; secure") if name.lower() == b"set-cookie" else (name, value)
                    for name, value in message.get("headers", [])
                ]
            await send(message)

        await self.app(scope, receive, send_secure)
