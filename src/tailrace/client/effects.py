"""What the machine that reads asks of the world, and what the world answers. Pure.

The machine (`client/sse.py`, `client/following.py`, `client/anywhere.py`) is a generator. It yields one of the effects
below and is sent what came of it; it never waits, never connects, and does not know whether an event loop or a thread
runs it. Two thin drivers do (`client/drivers.py`).

    effect       is answered with
    AskToken     the token's text
    Open         Head, or a Failure
    Read         bytes (b"" at the end), or a Failure
    Close        None; it is no error to close what is closed
    Sleep        None
    Tell         None
    Deliver      None, once everything delivered before has been taken

Open and Read can be answered with Interrupted as well: whoever reads was cancelled in the middle of it. The connection
is then lost, and nothing else. AskToken, Close and Sleep are done again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Generic, Literal, NamedTuple, TypeVar

from tailrace.client.reconnect import Dropped, Garbled, Untrusted

Item = TypeVar("Item")


class State(NamedTuple):
    """How the connection is: `connecting`, `open`, `waiting` (for `seconds`) or `ended`, and why.

    Once it was `open`, the reader knows where it stands, and misses nothing that is published from then on.
    """

    name: Literal["connecting", "open", "waiting", "ended"]
    reason: str = ""
    seconds: float = 0.0


OnState = Callable[[State], object]


def ignore(state: State) -> None:
    """Nobody asked."""


class AskToken(NamedTuple):
    """Say what token to show now."""


class Open(NamedTuple):
    """Send a request, and read the head of its answer. No read may take longer than `read_seconds` (None: any time)."""

    method: str
    url: str
    headers: dict[str, bytes]
    params: dict[str, str]
    body: bytes | None
    read_seconds: float | None
    follow_redirects: bool = False


class Read(NamedTuple):
    """Read some of the answer's body, its content coding undone."""


class Close(NamedTuple):
    """Let go of the answer, and of its connection if there is more to come."""


class Sleep(NamedTuple):
    """Wait until the machine's clock says so (seconds)."""

    until: float


class Tell(NamedTuple):
    """The connection has changed."""

    state: State


class Deliver(NamedTuple, Generic[Item]):
    """Hand these out, one by one; then the reader stands at `cursor` (None: where it stood)."""

    items: list[Item]
    cursor: str | None


class Head(NamedTuple):
    """The head of an answer. Names of headers are in lower case."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    url: str


class Interrupted(NamedTuple):
    """Whoever reads was cancelled: try again at once."""


Failure = Dropped | Garbled | Untrusted
Task = AskToken | Open | Read | Close | Sleep
"""What a link does."""
Effect = Task | Tell | Deliver[Item]
Came = Head | bytes | str | Failure | Interrupted | None
Result = TypeVar("Result")
Steps = Generator[Effect[Item], Came, Result]
