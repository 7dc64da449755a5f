"""The demo as an application: the native door, one page at `/`, and the four things its buttons ask for.

The page's events come through the native door like everybody's. What is added here only makes things happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Final

from starlette.routing import BaseRoute, Route

from tailrace.doors.access import Access
from tailrace.doors.asgi import Call, Handler, Resource
from tailrace.doors.endpoint import Endpoint
from tailrace.doors.streams import Streams
from tailrace.errors import Forbidden, NotFound
from tailrace.log.log import Log
from tailrace.server.build import Site
from tailrace.server.config import Settings
from tailrace.server.demo.sources import Sources

PAGES: Final = {
    "/": ("index.html", b"text/html; charset=utf-8"),
    "/demo.css": ("demo.css", b"text/css; charset=utf-8"),
    "/demo.js": ("demo.js", b"text/javascript; charset=utf-8"),
    "/demo.svg": ("demo.svg", b"image/svg+xml"),
}
PROTECTION: Final = (
    (b"content-security-policy", b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)


def demo_site(folder: Path, python: Path | None = None) -> Callable[[Settings, Log], Site]:
    """What makes the demo of a log: a `Site` whose sources publish until it drains."""

    def make_site(settings: Settings, log: Log) -> Site:
        sources = Sources(log, folder, python)
        site = Site(settings, log, lambda streams, access: demo_routes(streams, access, sources))
        sources.start(site.streams.wait_draining, settings.http.retry_milliseconds)
        return site

    return make_site


def demo_routes(streams: Streams, access: Access, sources: Sources) -> list[BaseRoute]:
    """The page, and what its buttons ask for."""

    def route(path: str, method: str, handler: Handler) -> Route:
        return Route(path, Endpoint(Resource({method: handler}), access, streams.metrics))

    async def drop(call: Call) -> None:
        _require_own_page(call)
        if not streams.cut(dict(call.query()).get("connection", "")):
            raise NotFound("There is no open stream of that id: it is in the data of 'tailrace.open'.")
        await call.answer_json(200, {"dropped": True})

    async def write(call: Call) -> None:
        _require_own_page(call)
        await call.answer_json(201, {"file": await asyncio.to_thread(sources.write)})

    async def run_hash(call: Call) -> None:
        _require_own_page(call)
        await call.answer_json(202, {"topic": sources.hash()})

    async def read(call: Call) -> None:
        _require_own_page(call)
        await call.answer_json(202, {"topic": sources.read()})

    buttons = {"drop": drop, "file": write, "hash": run_hash, "text": read}
    return [
        *(route(path, "GET", _static(name, media)) for path, (name, media) in PAGES.items()),
        *(route(f"/demo/{name}", "POST", handler) for name, handler in buttons.items()),
    ]


def _static(name: str, media: bytes) -> Handler:
    content = files("tailrace.server.demo").joinpath("static", name).read_bytes()

    async def answer(call: Call) -> None:
        await call.answer(200, content, [(b"content-type", media), *PROTECTION])

    return answer


def _require_own_page(call: Call) -> None:
    """Other sites' pages may not press the buttons: browsers say where a request comes from."""
    if call.header(b"sec-fetch-site") not in (None, "none", "same-origin"):
        raise Forbidden("Only the demo's own page may do that.")
