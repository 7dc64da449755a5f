"""No event is skipped or doubled, however members join, pause, resume and leave while events are published and trimmed.

Hypothesis drives the real fan-out over the real log; only the sockets are ours, so that they stall when we say so.
"""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.doors.native.dialect import DIALECTS
from tailrace.fanout import late, pump, window
from tailrace.fanout.fanout import Asked, Fanout, FanoutLimits
from tailrace.fanout.member import Member
from tailrace.log.limits import LogLimits
from tailrace.log.log import Log
from tailrace.log.store import Entry, Page
from tailrace.stores.memory import MemoryStore
from tailrace.wire.sse_decoder import SseDecoder

TOPICS = ("a", "b", "c/1", "c/2")
SELECTIONS = (
    Selection(["a"]),
    Selection(["**"]),
    Selection(["c/*"]),
    Selection(["a", "c/**"], types=["x"]),
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns, pieces and readers so small that everything is cut in the middle; some passes are rested after."""
    rests = cycle((0.0, 0.0, 0.001))
    monkeypatch.setattr(pump, "rest_after", lambda *_: next(rests))
    monkeypatch.setattr(pump, "SOCKETS", 2)
    monkeypatch.setattr(pump, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(pump, "LATE", 1)
    monkeypatch.setattr(late, "READERS", 2)
    monkeypatch.setattr(late, "READ_EVENTS", 7)
    monkeypatch.setattr(late, "READING_AHEAD", 2)
    monkeypatch.setattr(late, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(late, "PIECE_BYTES", 4)
    monkeypatch.setattr(window, "LEAST_MEMBERS", 2)


class SlowStore(MemoryStore):
    """Reading takes some turns of the loop, each time others, in which everything goes on."""

    turns = 0

    async def read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        self.turns = (self.turns + 1) % 5
        page = await super().read(selection, after, limit)
        for _ in range(self.turns):
            await asyncio.sleep(0)
        return page


class Socket:
    """An outlet that takes `room` writes, and then says that it is full."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.room = 1_000_000
        self.member: Member
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.received.append(data)
        self.room -= 1
        if self.room <= 0 and not self.member.paused:
            self.member.pause_writing()

    def take(self, room: int) -> None:
        """Drain, and have room for so many writes."""
        self.room = room
        if self.member.paused and not self.closed:
            self.member.resume_writing()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.member.connection_lost(None)

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0


@dataclass
class Reader:
    """A stream, and what it should have got."""

    socket: Socket
    member: Member
    selection: Selection
    after: Cursor
    gzip: bool

    def got(self) -> list[str]:
        decoder = SseDecoder()
        unpack = zlib.decompressobj(31).decompress if self.gzip else bytes
        events = [event for data in self.socket.received for event in decoder.feed(unpack(data))]
        return [event.data for event in events if not event.type.startswith("tailrace.")]


class World:
    """A log, its fan-out, and everything that was published."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.fanout = Fanout(log, FanoutLimits(1000, 1000, 1000), lambda _: None)
        self.readers: list[Reader] = []
        self.published: list[tuple[int, str, str, str]] = []

    async def publish(self, topic: str, count: int, kind: str) -> None:
        numbers = [str(len(self.published) + index) for index in range(count)]
        drafts = [Draft(topic=topic, data=number.encode(), type=kind) for number in numbers]
        receipt = await self.log.publish(Entry(topic=topic, drafts=drafts))
        assert receipt.first is not None
        self.published += [(receipt.first + index, topic, kind, number) for index, number in enumerate(numbers)]

    async def open(self, selection: Selection, back: int, room: int, gzip: bool) -> None:
        tip = self.log.tail.tip
        after = Cursor(tip.epoch, max(1, tip.position - back))
        place = self.log.reading(after)
        page = await self.log.read(selection, after, 3)
        socket = Socket()
        socket.room = room
        member = Member(place, "somebody", 0)
        member.outlet, socket.member = socket, member
        self.fanout.open(member, Asked(selection, DIALECTS["data"], 15.0, gzip, chunked=False), after, page)
        self.readers.append(Reader(socket, member, selection, after, gzip))

    def pick(self, number: int) -> Reader | None:
        return self.readers[number % len(self.readers)] if self.readers else None

    async def settle(self) -> None:
        """Let every socket drain, and wait until everybody is level."""
        for reader in self.readers:
            reader.socket.take(1_000_000)
        while not self.level():  # noqa: ASYNC110 - turns of the loop are what is awaited
            await asyncio.sleep(0)

    def level(self) -> bool:
        behind = [reader for reader in self.readers if reader.member.place is not None and not reader.member.gone]
        return not behind and not any(cohort.queued for cohort in self.fanout._cohorts.values())

    def wanted(self, reader: Reader) -> list[str]:
        types = reader.selection.types
        return [
            number
            for position, topic, kind, number in self.published
            if position > reader.after.position and reader.selection.includes(topic) and (not types or kind in types)
        ]


NUMBER = st.integers(0, 7)
STEP = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(TOPICS), st.integers(1, 9), st.sampled_from(["message", "x"])),
    st.tuples(
        st.just("open"),
        st.sampled_from(SELECTIONS),
        st.integers(0, 20),
        st.sampled_from([1, 2, 3, 1_000_000]),
        st.booleans(),
    ),
    st.tuples(st.just("beat")),
    st.tuples(st.just("stall"), NUMBER),
    st.tuples(st.just("take"), NUMBER, st.sampled_from([1, 2, 1_000_000])),
    st.tuples(st.just("lose"), NUMBER),
    st.tuples(st.just("turn"), st.integers(1, 4)),
    st.tuples(st.just("reset")),
)


async def do(world: World, step: tuple) -> None:
    match step:
        case ("publish", topic, count, kind):
            await world.publish(topic, count, kind)
        case ("open", selection, back, room, gzip):
            await world.open(selection, back, room, gzip)
        case ("beat",):
            for cohort in list(world.fanout._cohorts.values()):
                world.fanout.pump.say(cohort, b":\n\n")
        case ("stall", number) if (reader := world.pick(number)) and not reader.member.paused:
            reader.member.pause_writing()
        case ("take", number, room) if reader := world.pick(number):
            reader.socket.take(room)
        case ("lose", number) if reader := world.pick(number):
            world.readers.remove(reader)
            reader.socket.close()
        case ("turn", count):
            for _ in range(count):
                await asyncio.sleep(0)
        case ("reset",):  # as if another writer had come between
            known = world.log.tail.tip
            world.log.tail.reset(known)
            world.log.wakeup.wake_all(known)


@settings(max_examples=200)
@given(st.lists(STEP, max_size=60))
def test_every_reader_gets_exactly_what_it_selects_in_order(steps: list[tuple]) -> None:
    async def run() -> None:
        limits = LogLimits(tail_events=12, page_events=3)
        async with await Log.open(SlowStore(), limits) as log:
            world = World(log)
            for topic in TOPICS:
                await log.publish(Entry(topic=topic, create=TopicConfig()))
            for step in steps:
                await do(world, step)
            await asyncio.wait_for(world.settle(), 20)
            for reader in world.readers:
                assert reader.got() == world.wanted(reader)
            for reader in world.readers:
                reader.socket.close()
            assert (len(world.fanout), world.fanout.cohorts, log.wakeup.watchers) == (0, 0, 0)
            await world.fanout.aclose()

    asyncio.run(run())
