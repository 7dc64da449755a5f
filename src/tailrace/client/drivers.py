"""The two drivers of the machine: iterators that do its effects and hand out its items.

What both do the same is in `Reading`, which never waits. Items come from a list that is ready, so that an event costs
one call and neither a task nor a generator.
"""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Self

from tailrace.client.effects import Came, Deliver, Effect, Interrupted, Item, OnState, Open, Read, State, Task, Tell
from tailrace.client.links import AsyncLink, SyncLink
from tailrace.client.machine import Machine, ReadingStatistics


class Reading(Generic[Item]):
    """What both drivers know: the machine, what it waits for, and what is ready to be handed out."""

    def __init__(self, machine: Machine[Item], on_state: OnState) -> None:
        self._machine = machine
        self._steps = machine.run()
        self._on_state = on_state
        self._effect: Effect[Item] | None = None
        self._started = False
        self._over = False
        self._busy = False
        self._ready: list[Item] = []  # the next one last
        self._last: Item | None = None  # of those that were ready, handed out last
        self._before = self._after = machine.cursor  # where the reader stands before and after what is ready

    @property
    def cursor(self) -> str | None:
        """Where the reader stands: another one that starts there goes on with the next event. None: not known yet."""
        if not self._ready:
            return self._after
        return self._before if self._last is None else self._place_of(self._last)

    @property
    def state(self) -> State:
        """How the connection is now."""
        return self._machine.state

    def statistics(self) -> ReadingStatistics:
        """What happened so far."""
        return self._machine.statistics()

    def _place_of(self, item: Item) -> str | None:
        """Where the reader stands after `item`."""
        raise NotImplementedError

    def _enter(self) -> None:
        if self._busy:
            raise RuntimeError("Somebody reads here already: give each task or thread a subscription of its own.")
        self._busy = True

    def _turn(self) -> Task | None:
        """What is to be done next; None if something is ready, or if all is over."""
        if not self._started:
            self._started = True
            self._answer(None)
        while not self._ready and not self._over:
            effect = self._effect
            if isinstance(effect, Deliver):
                self._before, self._last = self._after, None
                if effect.cursor is not None:
                    self._after = effect.cursor
                self._ready = effect.items[::-1]
            elif isinstance(effect, Tell):
                self._on_state(effect.state)
            else:
                assert effect is not None, "a machine that is not over has an effect"
                return effect
            self._answer(None)
        return None

    def _answer(self, came: Came) -> None:
        """Tell the machine what came of its effect, and learn the next."""
        try:
            self._effect = self._steps.send(came)
        except StopIteration:
            self._over = True

    def _interrupted(self) -> None:
        """Whoever reads was cancelled. The connection may have lost bytes: it is not to be read again."""
        if isinstance(self._effect, Open | Read):
            self._answer(Interrupted())

    def _end(self) -> None:
        """Nothing more is handed out."""
        self._over = True
        self._ready.clear()
        self._steps.close()


class AsyncReading(Reading[Item]):
    """Reads in an event loop: an async iterator, and a context manager that closes it.

    Cancelling whoever waits for an item loses none: the next call goes on where this one was.
    """

    def __init__(self, machine: Machine[Item], on_state: OnState, link: AsyncLink) -> None:
        super().__init__(machine, on_state)
        self._link = link

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop reading. Raises RuntimeError while another task reads: cancel that task instead."""
        self._enter()
        try:
            self._end()
            await self._link.aclose()
        finally:
            self._busy = False

    def __aiter__(self) -> Self:
        """Read on from where the reader stands."""
        return self

    async def __anext__(self) -> Item:
        """The next item. Raises Rejected, GaveUp, NotUnderstood or UntrustedServer; or what a callback raised."""
        if not self._ready:
            await self._fill()
        item = self._last = self._ready.pop()
        return item

    async def _fill(self) -> None:
        self._enter()
        try:
            while (effect := self._turn()) is not None:
                self._answer(await self._link.do(effect))
        except Exception:
            self._end()
            await self._link.aclose()
            raise
        except BaseException:
            self._interrupted()
            raise
        finally:
            self._busy = False
        if not self._ready:
            await self._link.aclose()
            raise StopAsyncIteration


class SyncReading(Reading[Item]):
    """Reads in a thread: an iterator, and a context manager that closes it. Another thread may close it, too."""

    def __init__(self, machine: Machine[Item], on_state: OnState, link: SyncLink) -> None:
        super().__init__(machine, on_state)
        self._link = link

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading. If another thread waits for an item, its loop ends as if there were no more."""
        if self._busy:
            self._over = True
            self._link.stop()
            return
        self._end()
        self._link.close()

    def __iter__(self) -> Self:
        """Read on from where the reader stands."""
        return self

    def __next__(self) -> Item:
        """The next item. Raises Rejected, GaveUp, NotUnderstood or UntrustedServer; or what a callback raised."""
        if not self._ready:
            self._fill()
        item = self._last = self._ready.pop()
        return item

    def _fill(self) -> None:
        self._enter()
        try:
            while (effect := self._turn()) is not None:
                self._answer(self._link.do(effect))
        except Exception:
            self._end()
            self._link.close()
            raise
        except BaseException:
            self._interrupted()
            raise
        finally:
            self._busy = False
        if not self._ready:
            self._link.close()
            raise StopIteration
