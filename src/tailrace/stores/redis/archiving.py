"""The whole log in Redis, told and taken: `log/archive.py` over scripts (`lua/tell_….lua`, `lua/take_….lua`).

An unfinished copy says so in its head (`copied`: how far its events were taken). No node enters such a log, and none
that had opened it empty can write to it. A page is put by one script, so it is there as a whole or not at all.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple, cast

import msgspec

from tailrace.core.event import Event
from tailrace.core.retention import Durability
from tailrace.errors import StoreCorrupt, StoreUnusable, Unavailable
from tailrace.log.archive import Head, Memories, Memory, TopicState, require_reachable
from tailrace.log.store import PAGE_BYTES
from tailrace.stores.redis.archive_rows import (
    Command,
    Put,
    answer_memory,
    event_rows,
    memory_commands,
    producer_memory,
    state_commands,
    state_row,
)
from tailrace.stores.redis.connection import Argument, Connection
from tailrace.stores.redis.opening import FORMAT
from tailrace.stores.redis.pages import events_of
from tailrace.stores.redis.rows import Reply, Row, head, settled
from tailrace.stores.redis.writing import look

_NAMES: Final = 1_000
"""Names that one step puts or looks up."""
_LOOKED: Final = 1_000
"""Keys of Redis that one step looks at to find first answers."""
_FORKS: Final = 500
"""Forks whose lineage one step notes."""

_encode: Final = msgspec.msgpack.encode


class RedisArchive:
    """See `Archive`. `RedisStore.archive` makes it."""

    keeps_positions: Final = True

    def __init__(
        self,
        connection: Connection,
        require_open: Callable[[], None],
        levels: tuple[Durability, ...],
        clock: Callable[[], int],
    ) -> None:
        self._connection = connection
        self._require_open = require_open
        self._levels = levels
        self._clock = clock
        self._copied = Head(0, 0, 0)

    async def _run(self, name: str, *arguments: Argument) -> list[object]:
        self._require_open()
        return await self._connection.run(name, *arguments)

    # ---- reading it ---------------------------------------------------------------------------------------

    async def head(self) -> Head:
        """See `Archive.head`."""
        self._require_open()
        at, _, _ = await look(self._connection, (), ())
        return Head(at.epoch, at.last, at.recorded_at, tuple(at.ends.items()))

    async def states(self, after: str, limit: int) -> Sequence[TopicState]:
        """See `Archive.states`."""
        rows = cast("list[Reply]", await self._run("tell_states", after, min(limit, _NAMES)))
        return [state_row(one).state() for one in rows]

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """See `Archive.events`."""
        while True:
            reply = await self._run("tell_events", after, limit, PAGE_BYTES)
            at = head(cast("Reply", reply[0]))
            if at is None:
                return []
            called = cast("list[bytes]", reply[2])
            names = {id_: name.decode() for id_, name in zip(called[::2], called[1::2], strict=True)}
            events = list(events_of(cast("list[tuple[bytes, list[bytes]]]", reply[1]), names, at))
            if events or reply[4]:
                return events
            after = cast("int", reply[3])

    async def memories(self, bookmark: str, limit: int) -> Memories:
        """See `Archive.memories`: producers by topic, then answers to keys and ids, once it is noted where they are."""
        mark = msgspec.json.decode(bookmark, type=_Bookmark) if bookmark else _Bookmark("producers", "", "0")
        match mark.step:
            case "producers":
                found, following = await self._producers(mark, limit)
            case "noting":
                found, following = [], await self._note(mark)
            case "answers":
                found, following = await self._answers(mark, limit)
        return Memories(found, None if following is None else msgspec.json.encode(following).decode())

    async def _producers(self, mark: _Bookmark, limit: int) -> tuple[list[Memory], _Bookmark | None]:
        rows, following = cast(
            "tuple[list[Reply], Reply]", await self._run("tell_producers", mark.name, mark.cursor, limit)
        )
        found = [producer_memory(*[value.decode() for value in one]) for one in rows]
        if following:
            name, cursor = following
            return found, _Bookmark("producers", name.decode(), cursor.decode())
        return found, _Bookmark("noting", secrets.token_hex(8), "0")

    async def _note(self, mark: _Bookmark) -> _Bookmark:
        [cursor] = cast("list[bytes]", await self._run("tell_gather", mark.name, mark.cursor, _LOOKED))
        return _Bookmark("answers", mark.name, "") if cursor == b"0" else mark._replace(cursor=cursor.decode())

    async def _answers(self, mark: _Bookmark, limit: int) -> tuple[list[Memory], _Bookmark | None]:
        rows, following = cast(
            "tuple[list[Reply], Reply]", await self._run("tell_answers", mark.name, mark.cursor, limit)
        )
        found = [answer_memory(*[value.decode() for value in one]) for one in rows]
        return found, mark._replace(cursor=following[0].decode()) if following else None

    # ---- filling it ---------------------------------------------------------------------------------------

    async def begin(self, head: Head) -> int:
        """See `Archive.begin`."""
        where = (head.epoch, head.last, head.recorded_at, _ends(head))
        match await self._run("take_begin", FORMAT, *where):
            case [b"taken", int(taken)]:
                self._copied = head
                return taken
            case [b"other"]:
                raise StoreUnusable(
                    "The target holds an unfinished copy of another log: give the source that it was begun with, or "
                    "choose another prefix."
                )
            case _:
                raise StoreUnusable(
                    "The target holds a log already: copy into a Redis database that is empty, or choose another "
                    "prefix."
                )

    async def put_states(self, states: Sequence[TopicState]) -> None:
        """See `Archive.put_states`."""
        require_reachable(states, self._levels)
        for start in range(0, len(states), _NAMES):
            page = states[start : start + _NAMES]
            sources = [state.descent.source for state in page if state.descent is not None]
            names = list(dict.fromkeys([*[state.name for state in page], *sources]))
            _, found = await self._take("take_names", _encode(names))
            ids = {
                name: Put(*[value.decode() for value in one])
                for name, one in zip(names, cast("list[Reply]", found), strict=True)
            }
            await self._put([command for state in page for command in state_commands(state, ids)])

    async def put_events(self, events: Sequence[Event]) -> None:
        """See `Archive.put_events`."""
        if events:
            rows, data = event_rows(events, self._copied.epoch_of)
            await self._take("take_events", _encode(rows), data)

    async def put_memories(self, memories: Sequence[Memory]) -> None:
        """See `Archive.put_memories`."""
        now, names = self._clock(), list(dict.fromkeys([one.topic for one in memories]))
        rows: dict[str, Row] = {}
        for start in range(0, len(names), _NAMES):
            self._require_open()
            _, found, _ = await look(self._connection, names[start : start + _NAMES], ())
            rows.update({one.name: one for one in found if one.blob})
        commands: list[Command] = []
        for one in memories:
            if one.topic in rows:
                id_, what = settled(rows[one.topic].blob)
                commands += memory_commands(one, id_, what.config, now)
        await self._put(commands)

    async def finish(self, head: Head) -> None:
        """See `Archive.finish`. The last step is the one that makes it a log."""
        done = 0
        while True:
            _, count = await self._take("take_lineage", done, _FORKS)
            done += cast("int", count)
            if count != _FORKS:
                break
        await self._take("take_end", head.epoch, head.last, head.recorded_at, _ends(head))

    async def _put(self, commands: list[Command]) -> None:
        await self._take("take_rows", _encode(commands))

    async def _take(self, name: str, *arguments: Argument) -> list[object]:
        reply = await self._run(name, *arguments)
        match reply:
            case [b"moved"]:
                raise Unavailable(
                    f"{self._connection.settings.where} was restarted meanwhile, or the copy was ended elsewhere: run "
                    "the same command again, which goes on where it was."
                )
            case [b"unknown", bytes(topic)]:
                raise StoreCorrupt(f"The source has an event of topic {topic.decode()!r}, and no such topic.")
            case _:
                return reply


class _Bookmark(NamedTuple):
    """What comes next: producers behind that topic, or within it; noting where answers are; or answers."""

    step: Literal["producers", "noting", "answers"]
    name: str
    cursor: str


def _ends(head: Head) -> str:
    return ",".join([f"{epoch}:{last}" for epoch, last in head.ends])
