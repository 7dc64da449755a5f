"""Wake-ups: those who can match are woken, none is missed between looking and waiting, and nothing is left behind."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.log.wakeup import Wakeup

HERE = Cursor(1, 1)
pytestmark = pytest.mark.anyio


async def test_a_publish_wakes_those_whose_selection_includes_its_topic() -> None:
    wakeup = Wakeup()
    selections = [Selection(["a"]), Selection(["b"]), Selection(["a", "b"]), Selection(["*"]), Selection(["x/**"])]
    with ExitStack() as stack:
        interests = [stack.enter_context(wakeup.interest(selection)) for selection in selections]
        wakeup.wake(["a"], HERE)
        assert [interest.hints for interest in interests] == [1, 0, 1, 1, 0]


async def test_a_wake_up_between_looking_and_waiting_is_not_lost() -> None:
    wakeup = Wakeup()
    with wakeup.interest(Selection(["a"])) as interest:
        ticket = interest.hints
        wakeup.wake(["a"], HERE)
        assert await interest.wait_beyond(ticket, None) is True


async def test_a_waiter_is_woken() -> None:
    wakeup = Wakeup()
    with wakeup.interest(Selection(["a"])) as interest:
        waiting = asyncio.create_task(interest.wait_beyond(interest.hints, None))
        await asyncio.sleep(0)
        assert wakeup.waiters == 1
        wakeup.wake(["a"], HERE)
        assert await waiting is True
        assert wakeup.waiters == 0


async def test_a_wait_ends_with_its_timeout() -> None:
    wakeup = Wakeup()
    wheel = asyncio.create_task(wakeup.turn())
    with wakeup.interest(Selection(["a"])) as interest:
        assert await interest.wait_beyond(interest.hints, 0.001) is False
        assert await interest.wait_beyond(interest.hints, 0) is False
        assert wakeup.waiters == 0
    wheel.cancel()


async def test_a_cancelled_waiter_leaves_nothing_behind_and_the_others_wait_on() -> None:
    wakeup = Wakeup()
    with wakeup.interest(Selection(["a"])) as interest:
        cancelled, kept = (asyncio.create_task(interest.wait_beyond(interest.hints, 60)) for _ in range(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait({cancelled})
        assert wakeup.waiters == 1
        wakeup.wake(["a"], HERE)
        assert await kept is True


async def test_readers_of_equal_selections_share_one_interest_until_the_last_has_gone() -> None:
    wakeup = Wakeup()
    with wakeup.interest(Selection(["b", "a"])) as one:
        with wakeup.interest(Selection(["a", "b"])) as other:
            assert one is other
        assert wakeup.watchers == 1
    assert wakeup.watchers == 0
    wakeup.wake(["a", "b"], HERE)


async def test_everybody_can_be_woken() -> None:
    wakeup = Wakeup()
    with wakeup.interest(Selection(["a"])) as a, wakeup.interest(Selection(["x/*"])) as x:
        wakeup.wake_all(HERE)
        assert (a.hints, x.hints) == (1, 1)
