"""Stopping an answer, whenever the word comes."""

import asyncio
import json

import pytest

from answering.generation import ModelStream
from core.settings import Settings

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PIECE = {
    "id": "1",
    "object": "chat.completion.chunk",
    "created": 0,
    "model": "base",
    "choices": [{"index": 0, "delta": {"content": "Yes"}, "finish_reason": None}],
}


class TwoPieces:
    """A server that sends one piece of an answer, the next when told to, and then nothing."""

    def __init__(self):
        self.told, self.sent = asyncio.Event(), asyncio.Event()

    async def connect(self, reader, writer):
        """Serve one connection until the client leaves it."""
        await reader.readuntil(b"\r\n\r\n")
        event = f"data: {json.dumps(PIECE)}\n\n".encode()
        chunk = b"%x\r\n%s\r\n" % (len(event), event)
        writer.write(HEAD + chunk)
        await self.told.wait()
        writer.write(chunk)
        self.sent.set()
        await reader.read()
        writer.close()


@pytest.mark.parametrize("n_turns_later", range(8))
async def test_stop_is_heeded_while_a_piece_arrives(n_turns_later):
    """Each turn of the event loop takes the second piece one hand further on its way to us."""
    server = TwoPieces()
    async with await asyncio.start_server(server.connect, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        model = ModelStream(Settings(vllm_url=url, _env_file=None))
        generation = model.generate("base", [{"role": "user", "content": "Is it free?"}])
        pieces = aiter(generation)
        await anext(pieces)
        server.told.set()
        await server.sent.wait()
        for _ in range(n_turns_later):
            await asyncio.sleep(0)

        generation.stop()

        async with asyncio.timeout(5):
            assert {"Yes"} >= {piece async for piece in pieces}
        await generation.close()
        await model.close()
