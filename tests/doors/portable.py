"""The server as it is under any other ASGI server: nobody gives a connection away."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from tailrace.server.build import Site


class PortableSite(Site):
    """A site that is not offered the handover."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.pop("extensions", None)
        await super().__call__(scope, receive, send)


SITES = [Site, PortableSite]
WAYS = ["taken over", "by send"]
