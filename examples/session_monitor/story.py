"""What happens: an endless story of agent sessions, the same each time it is told.

It stands in for what your own feeder would read: the table or file that your agents write what they do to. Like these
it can be read again from any number on, which is all that the feeder asks of it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Literal, NotRequired, TypedDict

State = Literal["idle", "working", "waiting", "needs-approval", "done"]


class Session(TypedDict):
    """A session, as the page shows it."""

    title: str
    state: State
    line: str


class Headers(TypedDict):
    """`txid` is the number of the change, as text: what is in the stream says by itself how far it goes."""

    operation: Literal["insert", "update", "delete"]
    txid: str
    timestamp: NotRequired[str]


class Change(TypedDict):
    """A change message of the state protocol (STATE-PROTOCOL.md of Durable Streams)."""

    type: Literal["session"]
    key: str
    value: NotRequired[Session]
    headers: Headers


AT_ONCE = 6
"""Sessions."""
SEED = 4
NEXT: dict[State, tuple[State, ...]] = {
    "idle": ("working",),
    "working": ("working", "working", "working", "working", "working", "waiting", "needs-approval", "done"),
    "waiting": ("working",),
    "needs-approval": ("working",),
}
"""What may follow, as often as it is named. What is done goes away, and a new session takes its place."""
LINES: dict[State, tuple[str, ...]] = {
    "idle": ("Started",),
    "working": (
        "Reading src/login.py",
        "Searching for callers of refresh",
        "Editing src/session.py",
        "Running 48 tests",
        "47 tests passed, 1 failed",
        "Reading the traceback",
        "Writing tests/test_session.py",
        "Formatting 3 files",
    ),
    "waiting": ("Waiting for the build", "Waiting for an answer: which database?", "Waiting for a review"),
    "needs-approval": ("May I run alembic upgrade head?", "May I push to main?", "May I delete 14 files?"),
    "done": ("3 files changed, all tests pass", "Nothing to change", "Opened a pull request"),
}
TITLES = (
    "Fix the flaky login test",
    "Add cursors to the orders API",
    "Upgrade to Python 3.14",
    "Explain the memory growth",
    "Translate the settings page",
    "Remove the old importer",
    "Index the audit log",
    "Review the retry policy",
)


def story() -> Iterator[Change]:
    """Every change, from the first; its number is in `txid`, from 1. First the sessions start, then things happen."""
    chance = random.Random(SEED)  # noqa: S311 - the same story each time is the point
    numbers, starts = itertools.count(1), itertools.count(1)
    sessions: dict[str, Session] = {}
    while True:
        number = str(next(numbers))
        if len(sessions) < AT_ONCE:
            key, session = f"session-{next(starts)}", _started(sessions)
            sessions[key] = session
            yield {"type": "session", "key": key, "value": session, "headers": {"operation": "insert", "txid": number}}
            continue
        key = chance.choice(list(sessions))
        if sessions[key]["state"] == "done":
            del sessions[key]
            yield {"type": "session", "key": key, "headers": {"operation": "delete", "txid": number}}
            continue
        sessions[key] = _next(sessions[key], chance)
        headers: Headers = {"operation": "update", "txid": number}
        yield {"type": "session", "key": key, "value": sessions[key], "headers": headers}


def _started(others: Mapping[str, Session]) -> Session:
    taken = {session["title"] for session in others.values()}
    title = next(title for title in TITLES if title not in taken)
    return {"title": title, "state": "idle", "line": LINES["idle"][0]}


def _next(session: Session, chance: random.Random) -> Session:
    state = chance.choice(NEXT[session["state"]])
    lines = [line for line in LINES[state] if line != session["line"]]
    return {"title": session["title"], "state": state, "line": chance.choice(lines)}
