"""The log in one's own process: publish, subscribe, read, and what it says when it is used wrongly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tailrace import Condition, Cursor, EventLog, Missing, Received, Retention, Selection, TopicConfig, draft
from tailrace.embedded.history import PAGES_MAX
from tailrace.errors import (
    ConditionFailed,
    Draining,
    InvalidCursor,
    InvalidEvent,
    InvalidJson,
    InvalidParameter,
    InvalidPattern,
    NotOpen,
    StoreClosed,
    StoreLocked,
    TopicClosed,
    WrongLoop,
)
from tailrace.log.limits import LogLimits

pytestmark = pytest.mark.anyio


@pytest.fixture
async def log() -> AsyncIterator[EventLog]:
    async with EventLog("memory://") as log:
        yield log


async def settle() -> None:
    """Let everything that can run do so: nothing else is to wait for where a task only waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def take(events: AsyncIterator[Received | Missing], how_many: int) -> list[object]:
    taken: list[object] = []
    async for item in events:
        assert isinstance(item, Received)
        taken.append(item.json())
        if len(taken) == how_many:
            break
    return taken


async def test_what_is_published_is_received_with_its_attributes(log: EventLog) -> None:
    receipt = await log.publish("orders/42", {"total": 99}, type="order.created", key="42", tags=["eu"])
    [event] = [await anext(log.subscribe("orders/*", start="earliest"))]
    assert isinstance(event, Received)
    assert (event.cursor, event.topic, event.type, event.key, event.tags) == (
        receipt.last, "orders/42", "order.created", "42", ("eu",),
    )  # fmt: skip
    assert event.json() == {"total": 99}


async def test_a_subscription_goes_from_what_was_to_what_comes(log: EventLog) -> None:
    await log.publish("a", 1)
    events = log.subscribe("a", start="earliest")
    assert await take(events, 1) == [1]
    waiting = asyncio.create_task(take(events, 1))
    await settle()
    await log.publish("a", 2)
    assert await waiting == [2]


async def test_latest_begins_where_the_block_is_entered(log: EventLog) -> None:
    await log.publish("a", 1)
    async with log.subscribe("a") as events:
        await log.publish("a", 2)
        assert await take(events, 1) == [2]


async def test_a_cursor_goes_on_where_another_subscription_was(log: EventLog) -> None:
    await log.publish_many("a", [1, 2, 3])
    first = log.subscribe("a", start="earliest")
    await take(first, 2)
    assert first.cursor is not None
    assert await take(log.subscribe("a", start=first.cursor), 1) == [3]


async def test_a_time_starts_with_what_was_stored_since(log: EventLog) -> None:
    await log.publish("a", 1)
    assert await take(log.subscribe("a", start=datetime.now(UTC) - timedelta(hours=1)), 1) == [1]


async def test_types_tags_and_filter_select(log: EventLog) -> None:
    await log.publish("a", {"n": 1}, type="x", tags=["t"])
    await log.publish("a", {"n": 2}, type="x", tags=["t"])
    await log.publish("a", {"n": 3}, type="y", tags=["t"])
    chosen = log.subscribe(types=["x"], tags=["t"], filter={"path": "/n", "gt": 1}, start="earliest")
    assert await take(chosen, 1) == [{"n": 2}]


async def test_a_wait_that_times_out_loses_nothing(log: EventLog) -> None:
    events = log.subscribe("a", start="earliest")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await anext(events)
    await log.publish("a", 1)
    assert await take(events, 1) == [1]


async def test_what_is_gone_is_told(log: EventLog) -> None:
    await log.publish("a", 1)
    events = log.subscribe("a", start="earliest")
    await take(events, 1)
    await log.delete_topic("a")
    await log.publish("a", 2)
    missing = await anext(events)
    assert isinstance(missing, Missing)
    assert (missing.reason, missing.topics) == ("deleted", ("a",))
    assert await take(events, 1) == [2]
    assert events.statistics() == (2, 1, 0)


async def test_closing_a_topic_ends_its_subscriptions(log: EventLog) -> None:
    await log.publish("a", 1)
    await log.close_topic("a")
    assert [item async for item in log.subscribe("a", start="earliest")] != []
    with pytest.raises(TopicClosed):
        await log.publish("a", 2)


async def test_a_subscription_that_is_left_leaves_nothing_behind(log: EventLog) -> None:
    await log.publish("a", 1)
    async for _ in log.subscribe("a", start="earliest"):
        break
    assert log.statistics().subscriptions == 0


async def test_two_tasks_cannot_wait_for_one_subscription(log: EventLog) -> None:
    events = log.subscribe("a")
    first = asyncio.create_task(anext(events))
    await settle()
    with pytest.raises(RuntimeError, match="give each task one of its own"):
        await anext(events)
    first.cancel()


async def test_many_are_stored_together_or_not_at_all(log: EventLog) -> None:
    receipt = await log.publish_many("a", [1, 2, 3])
    assert receipt.count == 3
    with pytest.raises(InvalidEvent, match="cannot become JSON"):
        await log.publish_many("a", [4, object()])
    assert [event.json() for event in (await log.read("a")).events] == [1, 2, 3]


async def test_drafts_of_several_topics_are_one_step_with_key_and_condition(log: EventLog) -> None:
    drafts = [draft("a", 1), draft("b", 2)]
    first = await log.publish_drafts(drafts, idempotency_key="k")
    again = await log.publish_drafts(drafts, idempotency_key="k")
    assert (again.first, again.duplicate) == (first.first, True)
    rule = Condition(Selection(["b"]), Cursor(Cursor.parse(str(first.last)).epoch, 0))
    with pytest.raises(ConditionFailed):
        await log.publish_drafts([draft("a", 3)], condition=rule)
    with pytest.raises(InvalidParameter, match="at least one event"):
        await log.publish_drafts([])


async def test_history_comes_in_pages(log: EventLog) -> None:
    await log.publish_many("a", list(range(5)))
    first = await log.read("a", limit=3)
    rest = await log.read("a", after=first.next, limit=3)
    assert [event.json() for event in (*first.events, *rest.events)] == [0, 1, 2, 3, 4]
    assert (first.more, rest.more, rest.missing) == (True, False, None)
    with pytest.raises(InvalidParameter, match="limit is 0"):
        await log.read("a", limit=0)


async def test_a_read_that_ends_with_the_log_has_no_more(log: EventLog) -> None:
    await log.publish_many("a", [1, 2])
    await log.publish("b", 3)
    await log.close_topic("a")
    assert [(await log.read("a", limit=limit)).more for limit in (1, 2, 3)] == [True, False, False]
    assert not (await log.read("b", limit=1)).more


async def test_a_read_looks_through_so_many_pages_and_says_that_there_is_more() -> None:
    async with EventLog("memory://", limits=LogLimits(page_events=1)) as log:
        await log.publish_many("a", list(range(PAGES_MAX + 2)))
        first = await log.read("a", limit=1000)
        rest = await log.read("a", after=first.next, limit=1000)
    assert (len(first.events), first.more) == (PAGES_MAX, True)
    assert (len(rest.events), rest.more) == (2, False)


async def test_topics_are_configured_described_and_listed(log: EventLog) -> None:
    config = TopicConfig(retention=Retention(max_events=5))
    assert (await log.configure("new", config)).config == config
    other = TopicConfig(retention=Retention(max_events=6))
    assert (await log.configure("new", other)).config == other
    assert [topic.name for topic in await log.topics()] == ["new"]


async def test_statistics_tell_what_it_does(log: EventLog) -> None:
    receipt = await log.publish("a", 1)
    told = log.statistics()
    assert (told.last, told.connections, told.tail_events) == (receipt.last, 0, 1)
    assert log.connections() == []
    assert log.close_connection("none") is False


async def test_after_a_drain_nothing_is_published_and_subscriptions_end(log: EventLog) -> None:
    waiting = asyncio.create_task(take(log.subscribe("a"), 1))
    await settle()
    await log.drain()
    assert await waiting == []
    with pytest.raises(Draining, match="nothing more can be published here"):
        await log.publish("a", 1)


async def test_a_subscription_whose_reader_is_busy_while_the_log_is_closed_ends_when_it_next_asks() -> None:
    async with EventLog("memory://") as log:
        await log.publish_many("a", [1, 2])
        events = log.subscribe("a", start="earliest")
        assert await take(events, 1) == [1]
    assert await take(events, 2) == [2]


async def test_a_subscription_that_never_began_says_that_the_log_is_closed() -> None:
    async with EventLog("memory://") as log:
        events = log.subscribe("a")
    with pytest.raises(StoreClosed, match="open it again"):
        await anext(events)


async def test_it_can_be_opened_again_and_nested(tmp_path: Path) -> None:
    log = EventLog(f"sqlite:///{tmp_path}/log.db")
    async with log:
        async with log:
            await log.publish("a", 1)
        await log.publish("a", 2)
    async with log:
        assert [event.json() for event in (await log.read("a")).events] == [1, 2]


async def test_a_log_that_is_not_open_says_how_to_open_it() -> None:
    log = EventLog("memory://")
    with pytest.raises(NotOpen, match="async with log:"):
        await log.publish("a", 1)
    with pytest.raises(NotOpen, match="async with log:"):
        _ = log.sync
    await log.aclose()
    async with log:
        pass
    with pytest.raises(StoreClosed, match="open it again"):
        await log.publish("a", 1)


async def test_another_event_loop_is_told_whose_the_log_is(log: EventLog) -> None:
    def elsewhere() -> None:
        asyncio.run(log.publish("a", 1))  # type: ignore[arg-type]  # a coroutine

    with pytest.raises(WrongLoop, match=r"another event loop .* use `log.sync`"):
        await asyncio.to_thread(elsewhere)


async def test_two_logs_on_one_file_are_refused_and_told_how_to_share(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    async with EventLog(url):
        with pytest.raises(StoreLocked, match="shared=True"):
            await EventLog(url).open()
    async with EventLog(url, shared=True) as first, EventLog(url, shared=True) as second:
        await second.publish("a", 1)
        assert [event.json() for event in (await first.read("a")).events] == [1]


@dataclass
class Order:
    total: int


async def test_data_may_be_anything_that_json_can_say(log: EventLog) -> None:
    for data in (b"\0", "text", Order(1), datetime(2026, 11, 21, tzinfo=UTC)):
        await log.publish("a", data)
    await log.publish("a", '{"n": 1}', content_type="application/json")
    events = (await log.read("a")).events
    assert [event.data for event in events] == [b"\0", b"text", b'{"total":1}', b'"2026-11-21T00:00:00Z"', b'{"n": 1}']
    assert [event.content_type for event in events] == [
        "application/octet-stream", "text/plain; charset=utf-8", *["application/json"] * 3,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"topics": ["a b,"]}, InvalidPattern, "cannot be part of one"),
        ({"types": "x"}, InvalidParameter, "types is the text 'x': give a list"),
        ({"start": datetime(2026, 1, 1)}, InvalidParameter, "without an offset"),  # noqa: DTZ001 - that is the point
    ],
)
async def test_a_subscription_that_cannot_be_is_refused_at_once(
    log: EventLog, arguments: dict, error: type[Exception], sentence: str
) -> None:
    topics = arguments.pop("topics", [])
    with pytest.raises(error, match=sentence):
        log.subscribe(*topics, **arguments)


async def test_a_place_that_is_none_is_refused_when_it_is_looked_for(log: EventLog) -> None:
    with pytest.raises(InvalidCursor, match="give latest, earliest"):
        await anext(log.subscribe(start="yesterday"))


async def test_data_that_is_said_to_be_json_must_be(log: EventLog) -> None:
    with pytest.raises(InvalidJson, match="The data is not JSON"):
        await log.publish("a", "{", content_type="application/json")


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"time": datetime(2026, 1, 1)}, "without an offset"),  # noqa: DTZ001 - that is the point
        ({"tags": "eu"}, "must be a list of texts"),
        ({"type": "tailrace.open"}, "reserved"),
    ],
)
async def test_an_event_that_cannot_be_is_refused(log: EventLog, attributes: dict, sentence: str) -> None:
    with pytest.raises(InvalidEvent, match=sentence):
        await log.publish("a", "{", **attributes)
