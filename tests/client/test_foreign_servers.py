"""An event source at servers that are not ours, as their libraries serve them: it comes back where it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import uvicorn
from tests.client.foreign_app import EVENTS, app

from tailrace.client import EventSource, SyncEventSource

EXPECTED = [(str(number), "counted", f'{{"n":{number}}}') for number in range(1, EVENTS + 1)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    started = threading.Event()
    startup = server.startup

    async def tell(sockets: object = None) -> None:
        await startup()
        started.set()

    server.startup = tell  # type: ignore[method-assign,assignment]  # uvicorn has a flag and no event
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(30)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.mark.anyio
@pytest.mark.parametrize("library", ["fastapi", "sse-starlette"])
async def test_it_resumes_where_each_answer_ended(url: str, library: str) -> None:
    seen = []
    async with EventSource(f"{url}/{library}") as events:
        async for event in events:
            seen.append((event.id, event.type, event.data.replace(" ", "")))
            if len(seen) == EVENTS:
                break
    assert seen == EXPECTED


def test_without_a_loop_it_does_the_same_and_ends_when_there_is_nothing_more(url: str) -> None:
    with SyncEventSource(f"{url}/sse-starlette") as events:
        assert [(event.id, event.type, event.data) for event in events] == EXPECTED
