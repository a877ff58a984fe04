"""A wire to a server that a test can hold or cut in mid-answer."""

import asyncio
import threading
from contextlib import contextmanager


class Wire:
    """Carries TCP both ways; `hold_after` bytes from the server it carries no more of them."""

    def __init__(self, url, hold_after=None):
        self.url = url
        self.hold_after = hold_after
        self.ends = []

    async def connect(self, reader, writer):
        """Serve one connection until the client leaves it."""
        there_reader, there_writer = await self._open()
        self.ends += [writer, there_writer]
        await asyncio.gather(
            self._carry(reader, there_writer),
            self._carry(there_reader, writer, self.hold_after),
            return_exceptions=True,
        )
        writer.close()

    async def _open(self):
        if self.url.startswith("unix:"):
            return await asyncio.open_unix_connection(self.url.removeprefix("unix:"))
        host, port = self.url.removeprefix("http://").split(":")
        return await asyncio.open_connection(host, int(port))

    async def _carry(self, reader, writer, hold_after=None):
        n_carried = 0
        while block := await reader.read(4096):
            if hold_after is not None:
                block = block[: max(0, hold_after - n_carried)]
            n_carried += len(block)
            writer.write(block)
            await writer.drain()
        if hold_after is None:
            writer.close()

    def cut(self):
        """Break all connections off, as when the server is killed."""
        for end in self.ends:
            end.transport.abort()


@contextmanager
def held_wire(url, hold_after):
    """Yield the address of a wire that runs in a thread and holds each answer in the middle."""
    loop = asyncio.new_event_loop()
    wire = Wire(url, hold_after)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(timeout=10)

    server = run(asyncio.start_server(wire.connect, "127.0.0.1", 0))
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def shut():
        server.close()
        wire.cut()
        await asyncio.gather(
            *(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True
        )

    run(shut())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=10)
    loop.close()
