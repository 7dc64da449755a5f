"""Tailrace as a plain ASGI application, for servers that are not ours: `tests.server.plain_app:app`."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from tailrace.log.log import Log
from tailrace.server.build import Site
from tailrace.server.config import Settings
from tailrace.stores.memory import MemoryStore


class App:
    """Opens an empty log when the server starts."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._site(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        log = await Log.open(MemoryStore())
        self._site = Site(Settings(), log)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._site.aclose()
        await log.aclose()
        await send({"type": "lifespan.shutdown.complete"})


app = App()
