"""The pytest plugin: fixtures for a server, its clock, faults before it, and a client (docs/testing.md).

pytest loads it wherever the package is installed, so it imports nothing of the package before a fixture is used. The
fixtures are ordinary ones, not coroutines: they serve plain tests and those of anyio and pytest-asyncio alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tailrace.client import Client
    from tailrace.server.config import Settings
    from tailrace.testing.clock import Clock
    from tailrace.testing.proxy import Faults
    from tailrace.testing.server import LiveServer, OpenStream

SEED_OPTION = "--tailrace-seed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that has chance repeat itself."""
    parser.getgroup("tailrace").addoption(
        SEED_OPTION, type=int, default=None, metavar="NUMBER", help="what faults are drawn with, as a failure told it"
    )


class ServerFactory:
    """Makes servers for one test, all by its clock; they end with it."""

    def __init__(self, clock: Clock, folder: Path) -> None:
        self.servers: list[LiveServer] = []
        self._clock = clock
        self._folder = folder

    def __call__(self, settings: Settings | None = None, *, sqlite: bool = False) -> LiveServer:
        """Start one. `settings`: by default a `memory://` log on a free port; `sqlite`: a file of its own instead.

        Raises what keeps it from starting.
        """
        from dataclasses import replace  # noqa: PLC0415 - as the module's docstring has it

        from tailrace.testing.server import LiveServer, quick_settings  # noqa: PLC0415 - as the module's docstring has it

        chosen = settings or quick_settings()
        if sqlite:
            chosen = replace(chosen, store=f"sqlite:///{self._folder / f'tailrace-{len(self.servers)}.db'}")
        server = LiveServer(chosen, clock=self._clock).start()
        self.servers.append(server)
        return server

    def end(self) -> None:
        """End every stream for good, and stop. Fails the test if a reader did not take the end of its stream."""
        left: list[OpenStream] = []
        for server in reversed(self.servers):
            if server.is_running:
                left += server.end_streams()
                server.stop(for_good=True)
        _fail_for(left)


@pytest.fixture
def tailrace_clock() -> Clock:
    """The clock of the test's servers (`tailrace.testing.Clock`): real time, until the test moves or freezes it."""
    from tailrace.testing.clock import Clock  # noqa: PLC0415 - as the module's docstring has it

    return Clock()


@pytest.fixture
def tailrace_server_factory(tailrace_clock: Clock, tmp_path: Path) -> Iterator[ServerFactory]:
    """Makes servers with settings of the test's choice: `tailrace_server_factory(sqlite=True)`."""
    factory = ServerFactory(tailrace_clock, tmp_path)
    yield factory
    factory.end()


@pytest.fixture
def tailrace_server(tailrace_server_factory: ServerFactory) -> LiveServer:
    """A real server on a free port with an empty log in memory (`tailrace.testing.LiveServer`).

    When the test is over its streams end for good, so that readers which it left behind end too.
    """
    return tailrace_server_factory()


@pytest.fixture
def tailrace_faults(tailrace_server: LiveServer, request: pytest.FixtureRequest) -> Iterator[Faults]:
    """A proxy before `tailrace_server` that can be told to fail (`tailrace.testing.Faults`)."""
    from tailrace.testing.proxy import Faults  # noqa: PLC0415 - as the module's docstring has it

    with Faults(lambda: tailrace_server.url, seed=request.config.getoption(SEED_OPTION)) as faults:
        told = f"drawn with seed {faults.seed}; to have the same again: pytest {SEED_OPTION}={faults.seed}"
        request.node.add_report_section("call", "tailrace faults", told)
        yield faults
        faults.clear()
        left = tailrace_server.end_streams() if tailrace_server.is_running else []
        faults.stop(for_good=True)
    _fail_for(left)


@pytest.fixture
def tailrace_client(request: pytest.FixtureRequest) -> Client:
    """An async client of `tailrace_server`, or of `tailrace_faults` if the test asks for that too.

    Use it in `async with`, so that it is closed in the event loop it was used in.
    """
    from tailrace.client import Client  # noqa: PLC0415 - as the module's docstring has it

    behind = "tailrace_faults" if "tailrace_faults" in request.fixturenames else "tailrace_server"
    return Client(request.getfixturevalue(behind).url)


def _fail_for(left: Sequence[OpenStream]) -> None:
    if left:
        streams = "\n".join(f"  {stream.connection} of {', '.join(stream.topics)}" for stream in left)
        pytest.fail(f"Streams whose readers did not take their end were cut:\n{streams}", pytrace=False)
