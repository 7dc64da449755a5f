"""Hints between nodes, on channels that come back by themselves (`channels.py`).

Notifying is no part of an append: in its transaction NOTIFY would make all commits of the database that notify wait for
each other, and a hint may be lost. So the newest is told right after, by itself, at most one at a time: while one is
under way what comes next gathers. A small batch goes along whole, so that other nodes need not look into the store.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final

import msgspec

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.errors import TailraceError
from tailrace.log.store import Appended, Hint
from tailrace.stores.postgres.channels import Channel

logger: logging.Logger = logging.getLogger(__name__)

_LONGEST: Final = 7_900
"""Bytes of a notification; PostgreSQL takes less than 8,000."""
_CARRIED: Final = 4_000
"""With more bytes of data than that no batch fits into a notification."""
_UNTOLD: Final = 100
"""Batches kept to be told while there is no connection."""
_WAITING: Final = 1_000
"""Hints kept for a log that does not ask for them; then the newest stands for all."""
_BACKOFF_SECONDS: Final = (0.05, 5.0)
"""The first and the longest pause between two attempts to connect."""
_APART_SECONDS: Final = 0.01
"""Between two notifications: the first after a pause goes at once, and a busy log does not send one a batch."""
_ALIVE_SECONDS: Final = 5.0
"""How often the connection is asked whether it is one."""


class Notice(msgspec.Struct, array_like=True):
    """What one node tells the others: where the log ends, and, if it is little, what was appended."""

    node: str
    epoch: int
    previous: int
    last: int
    events: list[Event] | None
    marks: list[tuple[str, int]]

    def hint(self) -> Hint:
        """As the log takes it."""
        if self.events is None:
            return Hint(self.last)
        return Hint(self.last, Appended(self.epoch, self.previous, self.last, (), self.events, self.marks))


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Notice)


class Notices:
    """Tells and is told, as `node`. `wake` is called when something may have been put into the outbox."""

    def __init__(self, channels: Sequence[Channel], node: str, wake: Callable[[], None]) -> None:
        self._channels = channels
        self._node = node
        self._written = Cursor(0, 0)
        self._wake = wake
        self._told: list[Appended] = []
        self._hints: list[Hint] = []
        self._something = asyncio.Event()  # to tell, or lost
        self._heard = asyncio.Event()
        self._closed = False

    def tell(self, appended: Appended) -> None:
        """Have the other nodes told."""
        if len(self._told) == _UNTOLD:  # whoever is told only of the newest sees that something is missing
            self._told.clear()
        self._told.append(appended)
        self._written = Cursor(appended.epoch, appended.last)
        self._something.set()

    def show(self, hint: Hint) -> None:
        """A hint for this node's own log."""
        self._hints.append(hint)
        if len(self._hints) > _WAITING:
            self._hints = [Hint(max(one.last for one in self._hints))]
        self._heard.set()

    async def hints(self) -> AsyncIterator[Hint]:
        """See `Store.hints`."""
        while not self._closed:
            await self._heard.wait()
            self._heard.clear()
            waiting, self._hints = self._hints, []
            for hint in waiting:
                yield hint

    async def run(self) -> None:
        """Listen and tell until this is cancelled. The last channel is the one to tell by."""
        async with asyncio.TaskGroup() as group:
            for channel in self._channels:
                group.create_task(self._use(channel, tells=channel is self._channels[-1]))

    async def _use(self, channel: Channel, *, tells: bool) -> None:
        """One channel, on one connection after the other."""
        least, most = _BACKOFF_SECONDS
        pause = least
        while True:
            lost = asyncio.Event()
            try:
                tip = await channel.open(self._hear, lost.set)
                pause = least
                self.show(Hint(tip))  # what came before this connection was there
                self._wake()
                await (self._tell_on(channel, lost) if tells else _keep(channel, lost))
            except TailraceError as error:
                logger.debug("hints are interrupted: %s", error.sentence)
            finally:
                await channel.aclose()
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - so that nodes do not all come at once
            pause = min(pause * 2, most)

    async def _tell_on(self, channel: Channel, lost: asyncio.Event) -> None:
        """Tell what there is to tell, until the connection is lost."""
        watching = asyncio.create_task(_keep(channel, lost))
        watching.add_done_callback(lambda _: self._something.set())
        try:
            while not watching.done():
                await self._something.wait()
                self._something.clear()
                told, self._told = self._told, []
                if told:
                    await channel.send(self._text(told))
                    await asyncio.sleep(_APART_SECONDS)
            await watching
        finally:
            watching.cancel()

    def _text(self, told: list[Appended]) -> str:
        """One notification for all of them."""
        newest = told[-1]
        notice = Notice(self._node, newest.epoch, told[0].previous, newest.last, None, [])
        follow = all(one.previous == before.last for before, one in pairwise(told))
        if follow and sum([len(event.data) for one in told for event in one.events]) < _CARRIED:
            notice.events = [event for one in told for event in one.events]
            notice.marks = [mark for one in told for mark in one.marks]
            text = _encoder.encode(notice)
            if len(text) <= _LONGEST:
                return text.decode()
            notice.events, notice.marks = None, []
        return _encoder.encode(notice).decode()

    def _hear(self, payload: str) -> None:
        """Called by a channel."""
        if not payload:
            self._wake()
            return
        if payload.startswith(f'["{self._node}"'):
            return
        try:
            notice = _decoder.decode(payload)
        except msgspec.DecodeError as error:
            logger.warning("a notification is not ours: %s", error)
            return
        if notice.marks or notice.epoch != self._written.epoch or notice.last > self._written.position:
            self.show(notice.hint())  # else this node has written after it, and its log has seen that others had too

    def close(self) -> None:
        """Whoever asks for hints comes to an end."""
        self._closed = True
        self._heard.set()


async def _keep(channel: Channel, lost: asyncio.Event) -> None:
    """Answers or raises when the connection is lost; asks from time to time whether it is."""
    while not lost.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(_ALIVE_SECONDS):
                await lost.wait()
                return
        await channel.check()
