"""Several nodes on one log in NATS: one order, every rule, and each is told of what the others do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from tests.engines.nats import Nats
from tests.stores.nats_logs import connected, entry, eventually, everything, log_name, remove

from tailrace.core.condition import Condition
from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import ConditionFailed, StoreLocked, StoreUnusable, TopicClosed, TopicNotFound
from tailrace.log.store import Entry, Receipt, Store
from tailrace.stores.from_url import open_store
from tailrace.stores.nats import NatsStore
from tailrace.stores.nats.journal import escape
from tailrace.stores.sqlite import SqliteStore

pytestmark = pytest.mark.anyio


@pytest.fixture
async def url(nats: Nats) -> AsyncIterator[str]:
    log = log_name()
    yield f"{nats.url}/{log}"
    await remove(nats.url, log)


@pytest.fixture
async def nodes(url: str) -> AsyncIterator[list[Store]]:
    stores = [await open_store(url) for _ in range(2)]
    yield stores
    for store in stores:
        await store.aclose()


async def publish(store: Store, count: int, topic: str = "a") -> list[Receipt]:
    found = [(await store.append([entry(topic, str(index).encode())])).results[0] for index in range(count)]
    assert all(isinstance(one, Receipt) for one in found)
    return [one for one in found if isinstance(one, Receipt)]


async def test_nodes_that_write_at_once_come_to_one_order(nodes: list[Store]) -> None:
    receipts = await asyncio.gather(*[publish(store, 20, f"t/{index}") for index, store in enumerate(nodes)])
    assert len({one.first for several in receipts for one in several}) == 40
    for store in nodes:
        await store.tip()
    first, second = [await everything(store) for store in nodes]
    assert first == second
    assert len(first) == 40


async def test_a_node_that_asks_for_the_tip_has_what_another_has_acknowledged(nodes: list[Store]) -> None:
    [receipt] = await publish(nodes[0], 1)
    tip = await nodes[1].tip()
    assert tip == Cursor(receipt.epoch, receipt.last or 0)
    assert [event.position for event in await everything(nodes[1])] == [receipt.first]


async def test_a_node_is_told_what_another_has_appended(nodes: list[Store]) -> None:
    async with aclosing(nodes[1].hints()) as hints:
        coming = asyncio.ensure_future(anext(hints))
        await asyncio.sleep(0)
        appended = await nodes[0].append([entry("a", b"x")])
        hint = await asyncio.wait_for(coming, 10)
    assert hint.appended is not None
    assert (hint.last, hint.appended.previous) == (appended.last, appended.previous)
    assert hint.appended.events == appended.events


async def test_a_node_is_told_what_another_has_swept(nodes: list[Store]) -> None:
    await nodes[0].append([entry("a", create=TopicConfig(retention=Retention(max_events=1)))])
    await nodes[0].append([entry("a")])
    async with aclosing(nodes[1].hints()) as hints:
        coming = asyncio.ensure_future(anext(hints))
        await asyncio.sleep(0)
        swept = await nodes[0].sweep("a", 0, 10)
        while not (hint := await asyncio.wait_for(coming, 10)).appended or hint.appended.events:
            coming = asyncio.ensure_future(anext(hints))
    assert swept.events == 1
    assert list(hint.appended.marks) == [("a", swept.through)]


async def test_a_condition_that_another_node_has_broken_fails(nodes: list[Store]) -> None:
    tip = await nodes[1].tip()
    await publish(nodes[0], 1)
    condition = Condition(Selection(["a"]), tip)
    appended = await nodes[1].append([entry("a", condition=condition)])
    assert isinstance(appended.results[0], ConditionFailed)


async def test_of_two_nodes_with_one_condition_one_wins(nodes: list[Store]) -> None:
    tip = await nodes[0].tip()
    condition = Condition(Selection(["a"]), tip)
    answers = await asyncio.gather(*[store.append([entry("a", condition=condition)]) for store in nodes])
    assert sorted([type(one.results[0]) for one in answers], key=str) == [ConditionFailed, Receipt]


async def test_a_topic_that_another_node_has_closed_takes_no_more(nodes: list[Store]) -> None:
    await nodes[0].append([entry("a", close=True)])
    assert isinstance((await nodes[1].append([entry("a")])).results[0], TopicClosed)


async def test_a_refusal_is_not_told_by_a_node_that_does_not_know_better_yet(nodes: list[Store]) -> None:
    await publish(nodes[0], 1)
    appended = await nodes[1].append([entry("a", create_missing=False)])
    assert isinstance(appended.results[0], Receipt)


async def test_a_producer_may_go_on_at_another_node(nodes: list[Store]) -> None:
    for sequence, store in enumerate(nodes):
        await store.append([entry("a", producer=Producer("p", 0, sequence))])
    again = (await nodes[0].append([entry("a", producer=Producer("p", 0, 1))])).results[0]
    assert isinstance(again, Receipt)
    assert again.duplicate


async def test_what_is_configured_at_one_node_holds_at_all(nodes: list[Store]) -> None:
    await publish(nodes[0], 3)
    config = TopicConfig(retention=Retention(max_events=1))
    await nodes[1].configure("a", config)
    await nodes[0].tip()
    assert (await nodes[0].describe("a")).config == config
    assert (await nodes[0].sweep("a", 0, 10)).events == 2
    await nodes[1].tip()
    assert len(await everything(nodes[1])) == 1


async def test_a_topic_that_is_used_at_one_node_lives_on_at_all(nodes: list[Store]) -> None:
    await nodes[0].append([entry("a", create=TopicConfig(idle_seconds=100))])
    used = (await nodes[0].describe("a")).created_at + 50_000
    await nodes[1].tip()
    await nodes[1].touch({"a": used})
    await nodes[0].tip()
    assert (await nodes[0].describe("a")).deadline == used + 100_000


async def test_what_nobody_knows_cannot_be_configured(nodes: list[Store]) -> None:
    with pytest.raises(TopicNotFound):
        await nodes[0].configure("a", TopicConfig())


async def test_an_event_larger_than_a_message_is_split_and_put_together(nodes: list[Store]) -> None:
    data = bytes(range(256)) * 12_000
    await nodes[0].append([entry("big", data)])
    await publish(nodes[0], 1)
    await nodes[1].tip()
    assert [event.data for event in await everything(nodes[1])] == [data, b"0"]


async def test_a_batch_of_thousands_is_one_step(nodes: list[Store]) -> None:
    drafts = [Draft(topic=f"t/{index % 7}", data=b"x" * 300) for index in range(5_000)]
    await nodes[0].append([Entry(topic="t/0", drafts=drafts)])
    await nodes[1].tip()
    assert len(await everything(nodes[1])) == 5_000


async def test_the_messages_of_a_topic_stand_below_its_subject(url: str, nats: Nats, nodes: list[Store]) -> None:
    log = url.rpartition("/")[2]
    async with connected(nats.url) as client:
        seen = await client.subscribe(f"{log}.e.orders.>")
        await client.flush()
        await publish(nodes[0], 1, "orders/a.b")
        message = await seen.next_msg(10)
    assert message.subject == f"{log}.e.{escape('orders/a.b')}"


async def test_a_message_of_somebody_else_is_passed_over(url: str, nats: Nats, nodes: list[Store]) -> None:
    log = url.rpartition("/")[2]
    async with connected(nats.url) as client:
        await client.request(f"{log}.e.x", b"hello", timeout=5)
        await client.request(f"{log}.e.x", b"hello", timeout=5, headers={"Tailrace": "1"})
    for store in nodes:
        await publish(store, 1)
        await store.tip()
        assert [event.topic for event in await everything(store)] in (["a"], ["a", "a"])


# ---- the replica's file -----------------------------------------------------------------------------------


async def test_a_kept_replica_goes_on_where_it_stands(url: str, tmp_path: Path) -> None:
    kept = f"{url}?replica={tmp_path / 'replica.db'}"
    store = await open_store(kept)
    await publish(store, 3)
    await store.aclose()
    other = await open_store(url)
    await publish(other, 2)
    store = await open_store(kept)
    assert await store.tip() == await other.tip()
    assert await everything(store) == await everything(other)
    for one in (store, other):
        await one.aclose()


async def test_two_processes_cannot_share_a_replica(url: str, tmp_path: Path) -> None:
    kept = f"{url}?replica={tmp_path / 'replica.db'}"
    store = await open_store(kept)
    with pytest.raises(StoreLocked):
        await open_store(kept)
    await store.aclose()


async def test_a_log_in_a_file_is_no_replica(url: str, tmp_path: Path) -> None:
    own = await SqliteStore.open(tmp_path / "own.db")
    await own.append([entry()])
    await own.aclose()
    with pytest.raises(StoreUnusable, match="a log of its own"):
        await open_store(f"{url}?replica={tmp_path / 'own.db'}")
    own = await SqliteStore.open(tmp_path / "own.db")
    assert len(await everything(own)) == 1
    await own.aclose()


async def test_a_replica_of_another_log_is_begun_anew(url: str, nats: Nats, tmp_path: Path) -> None:
    kept, second = tmp_path / "replica.db", log_name()
    store = await open_store(f"{nats.url}/{second}?replica={kept}")
    await publish(store, 3)
    await store.aclose()
    store = await open_store(f"{url}?replica={kept}")
    assert await everything(store) == []
    await store.aclose()
    await remove(nats.url, second)


async def test_a_private_replica_is_gone_when_the_store_is_closed(url: str) -> None:
    store = await open_store(url)
    assert isinstance(store, NatsStore)
    folder = store._following.folder.path.parent
    assert folder.exists()
    await store.aclose()
    assert not folder.exists()


async def test_a_replica_whose_disk_fails_is_read_from_the_journal_again(
    nodes: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tailrace.errors import StoreFull

    store = nodes[0]
    assert isinstance(store, NatsStore)
    replica = store._following.replica

    def full() -> None:
        monkeypatch.undo()
        replica._opened.writer.let_go()
        raise StoreFull

    monkeypatch.setattr(replica._opened.writer, "keep", full)
    await publish(store, 1)
    await publish(store, 1)
    assert len(await everything(store)) == 2

    async def other_has_both() -> bool:
        await nodes[1].tip()
        return await everything(nodes[1]) == await everything(store)

    await eventually(other_has_both)
