"""The log for scripts and threads: the same, without await."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tailrace import EventLog, Received, SyncEventLog, TopicConfig, current_work, draft
from tailrace.errors import Draining, NotOpen, StoreUnusable, TopicClosed, WrongLoop


@pytest.fixture
def log() -> Iterator[SyncEventLog]:
    with SyncEventLog("memory://") as log:
        yield log


def types(log: SyncEventLog, topic: str) -> list[str]:
    return [event.type for event in log.read(topic).events]


def test_a_script_publishes_and_reads(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with SyncEventLog(url) as log:
        receipt = log.publish("a", {"n": 1}, type="x")
        log.publish_many("a", [{"n": 2}, {"n": 3}])
    with SyncEventLog(url) as log:
        first = next(log.subscribe("a", start="earliest"))
        assert isinstance(first, Received)
        assert (first.cursor, first.type) == (receipt.last, "x")
        assert [event.json() for event in log.read("a", after=first.cursor).events] == [{"n": 2}, {"n": 3}]


def test_a_subscription_waits_for_what_another_thread_publishes(log: SyncEventLog) -> None:
    with log.subscribe("a") as events:
        publishing = threading.Thread(target=log.publish_many, args=("a", [1, 2]))
        publishing.start()
        assert [item.json() for _, item in zip(range(2), events, strict=False) if isinstance(item, Received)] == [1, 2]
        publishing.join()
        assert events.statistics() == (2, 0, 0)


def test_a_subscription_whose_reader_is_busy_while_the_log_is_closed_ends() -> None:
    with SyncEventLog("memory://") as log:
        log.publish_many("a", [1, 2])
        events = log.subscribe("a", start="earliest")
        next(events)
    assert [item.json() for item in events if isinstance(item, Received)] == [2]
    events.close()


def test_statistics_and_cursor_are_of_what_was_handed_out(log: SyncEventLog) -> None:
    receipt = log.publish_many("a", [1, 2, 3])
    events = log.subscribe("a", start="earliest")
    first = next(events)
    assert isinstance(first, Received)
    assert (events.cursor, events.statistics()) == (receipt.first, (1, 0, 2))


def test_many_threads_share_commits_and_nothing_is_lost(log: SyncEventLog) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log.publish("a", number), range(200)))
    assert sorted(event.json() for event in log.read("a", limit=500).events) == list(range(200))  # type: ignore[type-var]


def test_the_end_of_a_topic_ends_the_loop(log: SyncEventLog) -> None:
    log.publish("a", 1)
    log.close_topic("a")
    assert len(list(log.subscribe("a", start="earliest"))) == 1
    with pytest.raises(TopicClosed):
        log.publish("a", 2)


def test_a_drain_ends_subscriptions_and_publishing(log: SyncEventLog) -> None:
    ended: list[list[object]] = []
    with log.subscribe("a") as events:
        thread = threading.Thread(target=lambda: ended.append(list(events)))
        thread.start()
        log.drain()
        thread.join(20)
    assert ended == [[]]
    with pytest.raises(Draining):
        log.publish("a", 1)


def test_topics_and_drafts(log: SyncEventLog) -> None:
    log.configure("a", TopicConfig(compaction="key"))
    log.publish_drafts([draft("a", 1), draft("b", 2)], idempotency_key="k")
    assert [topic.name for topic in log.topics()] == ["a", "b"]
    log.delete_topic("a")
    assert log.connections() == []
    assert log.close_connection("x") is False
    assert log.statistics().connections == 0


def test_it_says_that_it_is_not_open() -> None:
    log = SyncEventLog("memory://")
    with pytest.raises(NotOpen, match="with log:"):
        log.publish("a", 1)
    with log:
        pass
    with pytest.raises(NotOpen):
        log.publish("a", 1)
    log.close()


def test_what_keeps_it_from_opening_is_raised_and_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(StoreUnusable), SyncEventLog(f"sqlite:///{tmp_path}/none/log.db"):
        pass
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("tailrace-log")]
    assert left == []


def test_work_is_told_from_a_plain_block(log: SyncEventLog) -> None:
    with log.work("jobs/1", "import", ["read"]) as work:
        work.stage("read")
        work.progress(50, "half")
        assert work.stream(iter(["a", "b"])) == "ab"
        work.result = 3
    with pytest.raises(ZeroDivisionError), log.work("jobs/2", "divide"):
        _ = 1 / 0
    assert types(log, "jobs/1")[:3] == ["work.started", "work.progress", "work.progress"]
    assert types(log, "jobs/1")[-1] == "work.completed"
    assert types(log, "jobs/2") == ["work.started", "work.failed"]


def test_a_tracked_function_tells_its_calls(log: SyncEventLog) -> None:
    @log.tracked("imports/{number}", stages=["read"])
    def import_rows(number: int, *, fast: bool = False) -> str:
        current_work().stage("read")
        return f"{number} {fast}"

    assert import_rows(7) == "7 False"
    assert types(log, "imports/7") == ["work.started", "work.progress", "work.completed"]
    assert log.read("imports/7").events[0].json() == {"name": "import rows", "stages": ["read"]}


def test_an_iterator_is_published(log: SyncEventLog) -> None:
    assert log.publish_stream("chat", iter(["Hel", "lo"])) == "Hello"
    assert types(log, "chat")[0] == "work.started"
    assert types(log, "chat")[-1] == "work.completed"


@pytest.mark.anyio
async def test_the_face_of_an_open_log_is_for_other_threads_only() -> None:
    async with EventLog("memory://") as log:
        face = log.sync
        await asyncio.to_thread(face.publish, "a", 1)
        assert (await log.read("a")).events[0].json() == 1
        with pytest.raises(WrongLoop, match="use the log itself here, with await"):
            face.publish("a", 2)
