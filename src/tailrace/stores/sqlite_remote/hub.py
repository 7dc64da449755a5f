"""Beside the store of the process that writes: takes the others' batches, commits them together, and tells everybody.

While one commit is under way, batches of all senders gather for the next, so that they share its `fsync`. A sender has
one batch under way at a time, and its last one is remembered with its answer, in the file and in the same step that
stored it: who lost the connection and sends a batch again is answered, and nothing is stored twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

from tailrace.core.position import Cursor
from tailrace.errors import TailraceError
from tailrace.log.janitor import Janitor
from tailrace.log.limits import LogLimits
from tailrace.log.log import wall_ms
from tailrace.log.store import Appended
from tailrace.stores.sqlite.store import SqliteStore
from tailrace.stores.sqlite.writer import Remembered
from tailrace.stores.sqlite_remote.messages import (
    Answer,
    Append,
    AskOthers,
    CallFailed,
    Configure,
    Configured,
    FromSender,
    Hello,
    Others,
    Placed,
    Removed,
    Shown,
    Sweep,
    Tell,
    Told,
    Touch,
    Touched,
    Welcome,
    failed,
    frame,
    read_from_sender,
    results_of,
    shown,
)

OTHERS_SECONDS: Final = 0.5
"""How long the others may take to tell what they have to tell."""
_UNREAD_BYTES: Final = 32 * 1024 * 1024
"""A sender that has left so much unread is no longer told of appends: it looks into the file instead."""
_ANSWERS: Final = 1_000
"""Senders whose last answer is kept in memory."""


class _Question:
    """Asked of several senders."""

    def __init__(self, asked: set[str]) -> None:
        self.missing = asked
        self.texts: list[bytes] = []
        self.complete = asyncio.Event()


class Hub:
    """Where all batches come together. Make it with `Hub.open`; closing it does not close the store.

    `tell` says what this process has to tell when another asks. `failure` is done when the hub cannot go on.
    """

    def __init__(self, store: SqliteStore, limits: LogLimits, clock: Callable[[], int]) -> None:
        self._store = store
        self.janitor: Janitor = Janitor(store, self._swept, limits, clock)
        self.tell: Callable[[], bytes] = bytes
        self._tip = Cursor(0, 0)
        self._senders: dict[str, asyncio.StreamWriter] = {}
        self._left = asyncio.Event()
        self._waiting: dict[str, Append] = {}
        self._arrived = asyncio.Event()
        self._answers: dict[str, Remembered] = {}
        self._questions: dict[int, _Question] = {}
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server
        self.failure: asyncio.Task[None]

    @classmethod
    async def open(
        cls, store: SqliteStore, socket: Path, limits: LogLimits, *, clock: Callable[[], int] = wall_ms
    ) -> Hub:
        """Listen on `socket`, and keep house. Raises OSError."""
        hub = cls(store, limits, clock)
        hub._tip = await store.tip()
        hub._answers = {one.sender: one for one in await store.remembered()}
        socket.unlink(missing_ok=True)  # noqa: ASYNC240 - of one that was killed; before anybody waits
        hub._server = await asyncio.start_unix_server(hub._serve, socket)
        hub.failure = hub._do(hub._commit_for_ever())
        hub._do(hub.janitor.run())
        return hub

    async def wait_left(self) -> None:
        """Wait until every sender has gone."""
        while self._senders:
            self._left.clear()
            await self._left.wait()

    async def aclose(self) -> None:
        """Hang up. What was sent and not yet answered is left in doubt."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ---- senders --------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        sender = ""
        try:
            hello = await read_from_sender(reader)
            assert isinstance(hello, Hello), hello
            sender = hello.sender
            self._senders[sender] = writer
            writer.write(frame(Welcome(self._tip.position)))
            while True:
                self._take(sender, await read_from_sender(reader))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # it has gone, or we go
        finally:
            self._tasks.discard(task)
            writer.close()
            if self._senders.get(sender) is writer:
                self._leave(sender)

    def _leave(self, sender: str) -> None:
        del self._senders[sender]
        for question in self._questions.values():
            question.missing.discard(sender)
            if not question.missing:
                question.complete.set()
        self._left.set()

    def _take(self, sender: str, message: FromSender) -> None:
        match message:
            case Append():
                self._waiting[sender] = message
                self._arrived.set()
            case Configure(call, topic, config):
                self._do(self._answer(sender, call, self._configure(call, topic, config)))
            case Sweep(call, topic, now, budget):
                self._do(self._answer(sender, call, self._sweep(call, topic, now, budget)))
            case Touch(call, topics):
                self._do(self._answer(sender, call, self._touch(call, topics)))
            case AskOthers(call):
                self._do(self._answer(sender, call, self._ask_others(call, sender)))
            case Told(number, text):
                self._told(sender, number, text)

    def _send(self, sender: str, encoded: bytes) -> None:
        writer = self._senders.get(sender)
        if writer is not None:
            writer.write(encoded)

    def _push(self, message: Shown) -> None:
        encoded = frame(message)
        for writer in self._senders.values():
            if writer.transport.get_write_buffer_size() < _UNREAD_BYTES:
                writer.write(encoded)

    # ---- batches --------------------------------------------------------------------------------------------

    async def _commit_for_ever(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batches, self._waiting = self._waiting, {}
            new: dict[str, Append] = {}
            for sender, batch in batches.items():
                known = self._answers.get(sender)
                if known is None or known.number < batch.call:
                    new[sender] = batch
                else:
                    self._send(sender, known.answer)
            if new:
                await self._commit(new)

    async def _commit(self, batches: Mapping[str, Append]) -> None:
        """All batches in one step; then tell everybody, and answer."""
        answers: list[Remembered] = []

        def remember(appended: Appended) -> Sequence[Remembered]:
            answers.extend(_answers_of(batches, appended))
            return answers

        try:
            entries = [entry for batch in batches.values() for entry in batch.entries]
            appended = await self._store.append_remembered(entries, remember)
        except TailraceError as error:
            for sender, batch in batches.items():
                self._send(sender, frame(CallFailed(batch.call, failed(error))))
            return
        self._tip = Cursor(appended.epoch, appended.last)
        if appended.last > appended.previous:
            self._push(shown(appended))
        for one in answers:
            self._answers.pop(one.sender, None)  # the newest last
            self._answers[one.sender] = one
            self._send(one.sender, one.answer)
        while len(self._answers) > _ANSWERS:
            del self._answers[next(iter(self._answers))]

    # ---- other calls ----------------------------------------------------------------------------------------

    async def _answer(self, sender: str, call: int, asked: Coroutine[Any, Any, Answer]) -> None:
        try:
            self._send(sender, frame(await asked))
        except TailraceError as error:
            self._send(sender, frame(CallFailed(call, failed(error))))

    async def _configure(self, call: int, topic: str, config: Any) -> Configured:
        return Configured(call, await self._store.configure(topic, config))

    async def _sweep(self, call: int, topic: str, now: int, budget: int) -> Removed:
        swept = await self._store.sweep(topic, now, budget)
        self._swept(topic, swept.through)
        return Removed(call, swept)

    async def _touch(self, call: int, topics: Mapping[str, int]) -> Touched:
        await self._store.touch(topics)
        return Touched(call)

    def _swept(self, topic: str, through: int) -> None:
        """Every tail forgets what is gone."""
        epoch, last = self._tip
        self._push(Shown(epoch, last, last, [], [(topic, through)]))

    async def _ask_others(self, call: int, asker: str) -> Others:
        number = next(self._numbers)
        others = [sender for sender in self._senders if sender != asker]
        question = self._questions[number] = _Question(set(others))
        try:
            for sender in others:
                self._send(sender, frame(Tell(number)))
            if others:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(OTHERS_SECONDS):
                        await question.complete.wait()
        finally:
            del self._questions[number]
        return Others(call, [*question.texts, self.tell()])

    def _told(self, sender: str, number: int, text: bytes) -> None:
        question = self._questions.get(number)
        if question is not None and sender in question.missing:
            question.texts.append(text)
            question.missing.discard(sender)
            if not question.missing:
                question.complete.set()


def _answers_of(batches: Mapping[str, Append], appended: Appended) -> Sequence[Remembered]:
    """Each sender's answer: its part of the results."""
    answers: list[Remembered] = []
    begin = 0
    for sender, batch in batches.items():
        end = begin + len(batch.entries)
        placed = Placed(batch.call, appended.epoch, appended.last, results_of(appended.results[begin:end]))
        answers.append(Remembered(sender, batch.call, frame(placed)))
        begin = end
    return answers
