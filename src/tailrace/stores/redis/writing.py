"""The one writer of a node: its batches, one after the other, each exactly once.

A batch is judged by what the node knows and sent with all that it relied upon. If any of that has changed, it is
judged again by what is so. If no answer comes, the same batch is sent again under its number, which Redis keeps with
what came of it, until it is known what did.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, cast

import msgspec
from msgspec.structs import replace

from tailrace.core.retention import TopicConfig, cutoff, deadline
from tailrace.errors import TailraceError, TopicGone, TopicNotFound, Unavailable
from tailrace.log.judging import gone, not_found, reached
from tailrace.log.store import Appended, Capabilities, Entry, Swept, TopicInfo
from tailrace.stores.redis.appending import Appending
from tailrace.stores.redis.connection import Connection, LogGone, Unanswered
from tailrace.stores.redis.facts import Facts, needs
from tailrace.stores.redis.opening import enter
from tailrace.stores.redis.pages import Pages
from tailrace.stores.redis.request import Check, Request, Told, Used
from tailrace.stores.redis.rows import Head, Kin, Reply, Row, blob_of, head, kin, row, settled

_ATTEMPTS: Final = 200
"""How often a batch is judged before its publishers are asked to try again."""
_LOOKED: Final = 1_000
"""The most names that are looked up at a time."""
_IDS: Final = 1_000
"""Ids of topics that are reserved at a time."""
_PAUSE_LEAST: Final = 0.02
_PAUSE_MOST: Final = 0.5
"""Seconds between two tries to hear what came of a batch."""
_PAUSE_TURN: Final = 0.002
"""Seconds before a node tries again that waits for another's turn to end."""
_PATIENT: Final = 5
"""Attempts in vain after which a node asks the others to wait for it."""
_TURN_MS: Final = 250
"""How long they wait at most: a node that has died must not hold up the others."""
_BUSY: Final = "Other nodes change what this depends on, again and again: try again in a moment."
_NOTHING: Final = Told([], [], [])


class Done(NamedTuple):
    """What came of a request: the end of the log before it, when its events were recorded, and tails asked for."""

    base: int
    recorded_at: int
    tails: list[tuple[int, int]]


class Asked(msgspec.Struct, kw_only=True):
    """What `lua/sweep.lua` is asked; -1 stands for no limit."""

    node: str
    sharded: bool
    name: str
    blob: str
    now: int
    budget: int
    compact: bool
    oldest: int
    max_events: int
    max_bytes: int


class Writer:
    """One node's. Its methods are called one at a time."""

    def __init__(
        self, connection: Connection, pages: Pages, capabilities: Capabilities, clock: Callable[[], int]
    ) -> None:
        self.node: str = secrets.token_hex(8)
        self._connection = connection
        self._pages = pages
        self._levels = capabilities.durability
        self._clock = clock
        self._facts = Facts(pages.head)
        self._number = 0
        self._ids: list[str] = []
        self._ids_epoch = 0

    # ---- appending ----------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry]) -> Appended:
        """See `Store.append`."""
        self._facts.begin()
        for attempt in range(_ATTEMPTS):
            if attempt >= _PATIENT:  # others are faster, again and again
                await self._connection.run("turn", self.node, _TURN_MS)
            now = max(self._clock(), self._facts.head.recorded_at)
            try:
                await self._learn(entries, now)
            except LogGone:
                self._facts.know(await enter(self._connection, self._clock, self.seen))
                continue
            appended = await self._try(entries, now)
            if appended is not None:
                return appended
        raise Unavailable(_BUSY)

    async def _learn(self, entries: Sequence[Entry], now: int) -> None:
        """Ask what has to be known, and is not."""
        facts = self._facts
        while asked := needs(entries, facts, now):
            if asked.names or asked.families:
                await self._look(asked.names[:_LOOKED], asked.families)
            whole = bool(facts.families) or any(entry.delete for entry in entries)
            looks = [self._pages.look_for(condition, whole=whole) for condition in asked.conditions]
            for condition, (at, looked) in zip(asked.conditions, await asyncio.gather(*looks), strict=True):
                facts.rely(at, exact=looked.checks is None)
                facts.looked[condition] = looked

    async def _look(self, names: Sequence[str], families: Sequence[str]) -> None:
        at, rows, found = await look(self._connection, names, families)
        if families:
            self._facts.rely(at, exact=True)
        else:
            self._facts.know(at)
        for one in rows:
            self._facts.learn(one)
        for relative in found:
            self._facts.kin[relative.id] = relative
            if not relative.gone:
                self._facts.learn(_row_of(relative, self._facts.rows.get(relative.name)))
        self._facts.families.update(families)

    async def _try(self, entries: Sequence[Entry], now: int) -> Appended | None:
        """Judge and send; None if that has to be done again."""
        facts = self._facts
        await self._reserve(entries)
        request = self._request(now)
        judge = Appending(facts, request, iter(self._ids), now, self._levels)
        appended = judge.run(entries)
        if not facts.hold(request):
            facts.let_go()
            return None
        done = await self._apply(request, judge.told(), judge.data())
        if done is None:
            return None
        if self._was_otherwise(done, request, judge):  # others came between: the same verdicts, at other positions
            facts.head = facts.head._replace(last=done.base, recorded_at=done.recorded_at)
            request = self._request(now)
            judge = Appending(facts, request, iter(self._ids), done.recorded_at, self._levels)
            appended = judge.run(entries)
        self._keep(judge, appended, done.recorded_at)
        return appended

    def _was_otherwise(self, done: Done, request: Request, judge: Appending) -> bool:
        differ = done.base != request.last or done.recorded_at != request.now
        for id_, (tail, last) in zip(request.named, done.tails, strict=True):
            known = judge.topics.known(id_)
            if tail != known.tail or (id_ in request.closed and last != known.last):
                self._facts.learn(known._replace(tail=tail, last=last or known.last))
                differ = True
        return differ

    def _request(self, now: int) -> Request:
        at = self._facts.head
        return Request(
            node=self.node,
            now=now,
            epoch=at.epoch,
            last=at.last,
            cluster=self._connection.settings.cluster,
            sharded=self._connection.sharded,
            listeners=self._connection.listeners,
        )

    def _keep(self, judge: Appending, appended: Appended, recorded_at: int) -> None:
        """Remember what the batch has left."""
        facts = self._facts
        for name in judge.topics.changed:
            facts.rows.pop(name, None)
        for one in judge.topics.rows():
            facts.learn(one)
        for known, value in judge.memories.kept().items():
            facts.memories[known] = value
            facts.memories.move_to_end(known)
        facts.head = facts.head._replace(last=appended.last, recorded_at=recorded_at)
        del self._ids[: judge.topics.created]

    async def _reserve(self, entries: Sequence[Entry]) -> None:
        """Have an id for each topic that may come into being. Those of an earlier epoch may be given to others now."""
        if self._ids_epoch != self._facts.head.epoch:
            self._ids, self._ids_epoch = [], self._facts.head.epoch
        needed = sum([len(entry.drafts) + 1 for entry in entries])
        if len(self._ids) < needed:
            more = max(_IDS, needed)
            newest = cast("int", (await self._connection.run("ids", more))[0])
            self._ids += [str(id_) for id_ in range(newest - more + 1, newest + 1)]

    # ---- sending ------------------------------------------------------------------------------------------

    async def _apply(self, request: Request, told: Told = _NOTHING, data: bytes = b"") -> Done | None:
        """Send a batch until it is known what came of it; None if it has to be judged again."""
        self._number += 1
        request.number = self._number
        reply = await self._send(request.encoded(told, data))
        facts = self._facts
        match reply[0]:
            case b"done":
                _, base, recorded_at, tails = reply
                return Done(cast("int", base), cast("int", recorded_at), cast("list[tuple[int, int]]", tails))
            case b"conflict":
                at = head(cast("Reply", reply[1]))
                assert at is not None, "a log that conflicts is there"
                facts.know(at)
                facts.correct(request.checks, cast("list[tuple[int, bytes]]", reply[2]))
                facts.let_go()
            case b"late":  # it was refused before, and that answer was lost
                facts.forget()
            case _:
                facts.know(await enter(self._connection, self._clock, self.seen))
        self._pages.head = newer(self._pages.head, facts.head)
        return None

    async def _send(self, arguments: tuple[bytes, bytes, bytes]) -> list[object]:
        loop = asyncio.get_running_loop()
        end, pause = loop.time() + self._connection.settings.timeout, _PAUSE_LEAST
        while True:
            try:
                reply = await self._connection.run("apply", *arguments)
                if reply[0] != b"wait":
                    return reply
                if loop.time() >= end:
                    raise Unavailable(_BUSY)
                pause = _PAUSE_TURN
            except Unanswered:
                if loop.time() >= end:
                    self._facts.forget()
                    raise
            except TailraceError:
                self._facts.forget()
                raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, _PAUSE_MOST)

    @property
    def seen(self) -> Head:
        """The furthest that this node has seen."""
        return newer(self._facts.head, self._pages.head)

    # ---- the rest that writes -----------------------------------------------------------------------------

    async def configure(self, name: str, config: TopicConfig) -> TopicInfo:
        """See `Store.configure`."""
        for _ in range(_ATTEMPTS):
            now = self._clock()
            known = await find(self._connection, name, now)
            reached(config.durability, self._levels)
            id_, what = settled(known.blob)
            used, request = max(known.touched_at, now), self._request(now)
            blob = blob_of(id_, replace(what, config=config))
            ends = deadline(config, used)
            request.checks += [
                Check("h", "topics", name, known.blob),
                Check("h", f"c:{id_}", "u", str(known.touched_at)),
            ]
            request.commands += [("HSET", "topics", name, blob), ("HSET", f"c:{id_}", "u", str(used))]
            request.commands.append(
                ("ZREM", "deadlines", name) if ends is None else ("ZADD", "deadlines", str(ends), name)
            )
            self._facts.rows.pop(name, None)
            if await self._apply(request) is not None:
                _, [found], _ = await look(self._connection, [name], ())
                return (found if found.blob == blob else known._replace(blob=blob, touched_at=used)).info()
        raise Unavailable(_BUSY)

    async def touch(self, topics: Mapping[str, int]) -> None:
        """See `Store.touch`."""
        for _ in range(_ATTEMPTS):
            if not topics:
                return
            _, rows, _ = await look(self._connection, list(topics), ())
            request = self._request(self._clock())
            for known in rows:
                moment = topics[known.name]
                if not known.blob or known.is_over(moment):
                    continue
                id_, what = settled(known.blob)
                used = max(known.touched_at, moment)
                ends = deadline(what.config, used)
                if what.config.idle_seconds is not None and ends is not None:
                    request.checks.append(Check("h", "topics", known.name, known.blob))
                    request.used.append(Used(id_, known.name, used, ends))
                    self._facts.rows.pop(known.name, None)
            if not request.used or await self._apply(request) is not None:
                return
        raise Unavailable(_BUSY)

    async def sweep(self, name: str, now: int, budget: int) -> Swept:
        """See `Store.sweep`."""
        for _ in range(_ATTEMPTS):
            known = await find(self._connection, name, self._clock())
            config = settled(known.blob)[1].config
            retention, oldest = config.retention, cutoff(config.retention, now)
            asked = Asked(
                node=self.node,
                sharded=self._connection.sharded,
                name=name,
                blob=known.blob,
                now=now,
                budget=budget,
                compact=config.compaction == "key",
                oldest=-1 if oldest is None else max(0, oldest),
                max_events=-1 if retention.max_events is None else retention.max_events,
                max_bytes=-1 if retention.max_bytes is None else retention.max_bytes,
            )
            reply = await self._connection.run("sweep", msgspec.msgpack.encode(asked))
            self._facts.rows.pop(name, None)
            if reply[0] == b"swept":
                events, size, through, more = cast("list[int]", reply[1:])
                return Swept(events, size, through, bool(more))
        raise Unavailable(_BUSY)


def newer(one: Head, other: Head) -> Head:
    """The one that knows more."""
    return max(one, other, key=lambda at: (at.epoch, at.last))


async def look(
    connection: Connection, names: Sequence[str], families: Sequence[str]
) -> tuple[Head, list[Row], list[Kin]]:
    """What is known of names, and of the families of others, at one moment."""
    encode = msgspec.msgpack.encode
    reply = await connection.run("look", encode(list(names)), encode(list(families)))
    at = head(cast("Reply", reply[0]))
    if at is None:
        raise LogGone
    rows = [row(one) for one in cast("list[Reply]", reply[1])]
    return at, rows, [kin(one) for one in cast("list[list[object]]", reply[2])]


async def find(connection: Connection, name: str, now: int) -> Row:
    """A topic whose time is not up. Raises TopicNotFound or TopicGone."""
    _, [found], _ = await look(connection, [name], ())
    if found.blob and not found.is_over(now):
        return found
    raise await absent(connection, name, now) if found.blob or found.gone_id else not_found(name)


async def absent(connection: Connection, name: str, now: int) -> TopicNotFound | TopicGone:
    """Why there is no topic of a name that was forked, perhaps."""
    _, _, family = await look(connection, (), [name])
    members = {one.id: one for one in family}
    start = next((one for one in family if one.name == name and (one.gone or one.is_over(now))), None)
    below = list(start.forks) if start is not None else []
    for id_ in below:
        one = members[id_]
        if not one.gone and not one.is_over(now):
            return gone(name)
        below += one.forks
    return not_found(name)


def _row_of(one: Kin, known: Row | None) -> Row:
    last = 0 if known is None else known.last
    return Row(one.name, one.blob, "", 0, 0, one.tail, one.touched_at, one.removed_through, 0, 0, 0, last)
