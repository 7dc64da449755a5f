"""The official state package with TanStack DB, unmodified: live queries follow a stream of changes."""

from __future__ import annotations

import signal

import httpx2
import pytest
from tests.conformance.node import Program
from tests.conformance.serving import Server

Row = dict[str, object]
USERS: list[Row] = [{"id": "ann", "name": "Ann", "age": 40}, {"id": "bob", "name": "Bob", "age": 12}]
QUIETLY_IGNORED: list[object] = [
    {"headers": {}},
    {"headers": {"control": "no such control"}},
    {"type": "nobody follows this", "key": "1", "value": {}, "headers": {"operation": "insert"}},
]
NOT_TAKEN: list[object] = [
    "no object",
    {"type": "user"},
    {"type": "user", "key": "1", "value": "no object", "headers": {"operation": "insert"}},
]
RESTARTS = 2
"""The client takes three streams in a row that ended within a second for a proxy that holds them back, and gives up."""


def change(operation: str, kind: str, key: str, value: Row | None = None) -> Row:
    """A change of STATE-PROTOCOL.md."""
    return {"type": kind, "key": key, "headers": {"operation": operation}} | ({"value": value} if value else {})


def inserted(row: Row) -> Row:
    return change("insert", "user", str(row["id"]), row)


def ordered(number: int, user: str) -> Row:
    return change("insert", "order", f"o{number}", {"id": f"o{number}", "user": user})


class Database:
    """What the live queries of a program show."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def rows(self, query: str) -> object:
        shown = [line["rows"] for line in self._program.lines() if line.get("query") == query]
        return shown[-1] if shown else []

    def wait(self, **queries: list[Row]) -> None:
        """Wait until each query shows its rows."""
        self._program.wait(lambda: {query: self.rows(query) for query in queries} == queries)


def follow(server: Server, path: str, live: str = "auto", **options: object) -> Program:
    program = Program("state.mjs", url=server.stream(path), live=live, **options)
    program.wait(lambda: program.said("ready") or program.said("failed"))
    return program


@pytest.mark.parametrize("live", ["auto", "sse", "long-poll"])
def test_live_queries_show_inserts_updates_and_deletes(server: Server, path: str, live: str) -> None:
    server.append(path, *map(inserted, USERS))
    with follow(server, path, live) as program:
        shown = Database(program)
        shown.wait(everybody=[{"id": "ann", "name": "Ann"}, {"id": "bob", "name": "Bob"}], adults=[{"id": "ann"}])
        server.append(path, ordered(1, "ann"), ordered(2, "ann"), ordered(3, "bob"))
        shown.wait(totals=[{"id": "ann", "orders": 2}, {"id": "bob", "orders": 1}])
        server.append(path, change("update", "user", "bob", {"id": "bob", "name": "Robert", "age": 18}))
        shown.wait(adults=[{"id": "ann"}, {"id": "bob"}])
        server.append(path, change("delete", "user", "ann"))
        shown.wait(
            everybody=[{"id": "bob", "name": "Robert"}], adults=[{"id": "bob"}], names=[{"id": "o3", "name": "Robert"}]
        )
        assert not program.said("error")


@pytest.mark.parametrize(("live", "how"), [("auto", signal.SIGTERM), ("auto", signal.SIGKILL), ("sse", signal.SIGTERM)])
def test_live_queries_stay_right_across_restarts(server: Server, path: str, live: str, how: signal.Signals) -> None:
    with follow(server, path, live) as program:
        shown = Database(program)
        server.append(path, inserted(USERS[0]))
        for number in range(RESTARTS):
            server.append(path, ordered(2 * number, "ann"))
            shown.wait(totals=[{"id": "ann", "orders": 2 * number + 1}])
            server.restart(how)
            server.append(path, ordered(2 * number + 1, "ann"))
            shown.wait(totals=[{"id": "ann", "orders": 2 * number + 2}])
        orders = range(2 * RESTARTS)
        shown.wait(names=[{"id": f"o{number}", "name": "Ann"} for number in orders], adults=[{"id": "ann"}])
        assert not program.said("error")


def test_malformed_changes_that_the_client_ignores_lose_nothing(server: Server, path: str) -> None:
    with follow(server, path) as program:
        server.append(path, inserted(USERS[0]))
        for malformed in QUIETLY_IGNORED:
            server.append(path, malformed)
        server.append(path, *QUIETLY_IGNORED, inserted(USERS[1]))
        Database(program).wait(everybody=[{"id": "ann", "name": "Ann"}, {"id": "bob", "name": "Bob"}])
        assert not program.said("error")


@pytest.mark.parametrize("malformed", NOT_TAKEN, ids=["a string", "no headers", "no row"])
def test_a_malformed_change_that_ends_the_client_is_no_loss_to_readers(
    server: Server, path: str, malformed: object
) -> None:
    with follow(server, path) as program, Program("reader.mjs", url=server.stream(path), live="auto") as reader:
        shown = Database(program)
        server.append(path, inserted(USERS[0]))
        shown.wait(everybody=[{"id": "ann", "name": "Ann"}])
        server.append(path, malformed)
        program.wait(lambda: program.said("error"))
        server.append(path, inserted(USERS[1]))
        reader.wait(lambda: len(reader.items()) == 3)
        assert shown.rows("everybody") == [{"id": "ann", "name": "Ann"}]


def test_a_client_closed_within_a_batch_takes_nothing_from_another(server: Server, path: str) -> None:
    with follow(server, path, closeAt="bob") as closed, follow(server, path) as other:
        server.append(path, *map(inserted, USERS), ordered(1, "ann"))
        closed.wait(lambda: closed.said("closed"))
        server.append(path, ordered(2, "bob"))
        Database(other).wait(names=[{"id": "o1", "name": "Ann"}, {"id": "o2", "name": "Bob"}])
        assert Database(closed).rows("names") in ([], [{"id": "o1", "name": "Ann"}])
        assert not closed.said("error")


def test_a_change_is_read_with_the_offset_after_it(server: Server, path: str) -> None:
    server.append(path, inserted(USERS[0]))
    server.append(path, inserted(USERS[1]))
    answer = httpx2.get(server.stream(path))
    offsets = [item["headers"]["offset"] for item in answer.json()]
    assert offsets[0] < offsets[1] == answer.headers["stream-next-offset"]
    rest = httpx2.get(server.stream(path), params={"offset": offsets[0]}).json()
    assert [item["key"] for item in rest] == ["bob"]
