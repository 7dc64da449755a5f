"""A journal that has grown beyond what is kept is shortened; who comes new begins with the snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.engines.nats_server import Nats
from tests.stores.nats_logs import connected, entry, eventually, everything, log_name, remove

from tailrace.core.retention import Retention, TopicConfig
from tailrace.errors import StoreUnusable, TopicNotFound, Unavailable
from tailrace.stores.from_url import open_store
from tailrace.stores.nats import NatsStore, shortening, snapshots
from tailrace.stores.nats.identity import Identity
from tailrace.stores.nats.replica import Place

pytestmark = pytest.mark.anyio

SLACK = 3


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortening, "JOURNAL_BYTES", 0)
    monkeypatch.setattr(shortening, "JOURNAL_RATIO", 0)
    monkeypatch.setattr(shortening, "JOURNAL_SLACK", SLACK)
    monkeypatch.setattr(snapshots, "_CHUNK_BYTES", 10_000)


@pytest.fixture
async def url(nats: Nats) -> AsyncIterator[str]:
    log = log_name()
    yield f"{nats.url}/{log}"
    await remove(nats.url, log, f"{log}-snapshot")


async def opened(url: str) -> NatsStore:
    store = await open_store(url)
    assert isinstance(store, NatsStore)
    return store


@pytest.fixture
async def store(url: str) -> AsyncIterator[NatsStore]:
    one = await opened(url)
    yield one
    await one.aclose()


async def shorten(store: NatsStore) -> bool:
    return await shortening.shorten(store._following)


async def fill(store: NatsStore, count: int = 50) -> None:
    await store.append([entry("a", create=TopicConfig(retention=Retention(max_events=2)))])
    for index in range(count):
        await store.append([entry("a", str(index).encode() * 100)])
    await store.sweep("a", 0, 1_000)


async def messages(server: Nats, url: str) -> int:
    async with connected(server.url) as client:
        return (await client.jetstream().stream_info(url.rpartition("/")[2])).state.messages


async def test_a_shortened_journal_holds_what_the_snapshot_does_not_and_a_little_more(
    nats: Nats, store: NatsStore, url: str
) -> None:
    await fill(store)
    assert await messages(nats, url) > 50
    assert await shorten(store)
    assert await messages(nats, url) == SLACK
    await store.append([entry("a", b"more")])
    assert (await everything(store))[-1].data == b"more"


async def test_a_journal_that_is_not_much_larger_than_what_is_kept_is_left_alone(
    nats: Nats, store: NatsStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortening, "JOURNAL_RATIO", 1_000)
    await fill(store)
    before = await messages(nats, url)
    assert not await shorten(store)
    assert await messages(nats, url) == before


async def test_a_new_node_begins_with_the_snapshot_and_goes_on_with_the_journal(store: NatsStore, url: str) -> None:
    await fill(store)
    await shorten(store)
    await store.append([entry("b", b"after")])
    other = await opened(url)
    assert await everything(other) == await everything(store)
    assert await other.tip() == await store.tip()
    assert await other.describe("a") == await store.describe("a")
    await other.append([entry("b", b"from the new one")])
    await store.tip()
    assert (await everything(store))[-1].data == b"from the new one"
    await other.aclose()


async def test_a_node_that_was_away_for_too_long_begins_with_the_snapshot(
    store: NatsStore, url: str, tmp_path: Path
) -> None:
    kept = f"{url}?replica={tmp_path / 'replica.db'}"
    await store.append([entry("z")])
    away = await opened(kept)
    tip = await away.tip()
    await away.aclose()
    await fill(store)
    await shorten(store)
    away = await opened(kept)
    assert await everything(away) == await everything(store)
    assert (await away.tip()).epoch == tip.epoch
    await away.aclose()
    assert await asyncio.to_thread(names_in, tmp_path) == ["replica.db", "replica.db-lock"]


def names_in(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


async def test_the_next_snapshot_takes_the_place_of_the_one_before(nats: Nats, store: NatsStore, url: str) -> None:
    await fill(store)
    await shorten(store)
    first = await store._following.snapshots.newest(store._following.identity.log)
    await fill_again(store)
    await shorten(store)
    second = await store._following.snapshots.newest(store._following.identity.log)
    assert first is not None
    assert second is not None
    assert second.through > first.through
    async with connected(nats.url) as client:
        state = (await client.jetstream().stream_info(url.rpartition("/")[2] + "-snapshot")).state
    assert state.first_seq == second.first
    assert state.messages == second.chunks + 1
    other = await opened(url)
    assert await everything(other) == await everything(store)
    await other.aclose()


async def fill_again(store: NatsStore) -> None:
    for index in range(20):
        await store.append([entry("b", str(index).encode())])


async def test_of_two_nodes_that_make_a_snapshot_at_once_none_does_harm(store: NatsStore, url: str) -> None:
    other = await opened(url)
    await fill(store)
    await other.tip()
    await asyncio.gather(*[shorten(one) for one in (store, other)])
    third = await opened(url)
    assert await everything(third) == await everything(store)
    for one in (other, third):
        await one.aclose()


async def test_a_node_that_fell_behind_what_was_shortened_catches_up_from_the_snapshot(
    store: NatsStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await opened(url)
    async with other._following.turn:  # held up
        await fill(store)
        await shorten(store)
        other._following._arrivals._parts.clear()

    async def level() -> bool:
        return await other.tip() == await store.tip()

    await eventually(level)
    assert await everything(other) == await everything(store)
    await other.aclose()


async def test_a_snapshot_of_an_earlier_log_of_the_name_is_not_taken(nats: Nats, store: NatsStore, url: str) -> None:
    await fill(store)
    await shorten(store)
    await store.aclose()
    await remove(nats.url, url.rpartition("/")[2])
    fresh = await opened(url)
    assert await everything(fresh) == []
    with pytest.raises(TopicNotFound):
        await fresh.describe("a")
    await fresh.aclose()


async def test_a_journal_that_was_shortened_without_a_snapshot_is_told(nats: Nats, store: NatsStore, url: str) -> None:
    await fill(store)
    async with connected(nats.url) as client:
        await client.jetstream().purge_stream(url.rpartition("/")[2], seq=20)
    with pytest.raises(StoreUnusable, match="there is no snapshot"):
        await open_store(url)


async def test_the_journal_is_shortened_by_itself(nats: Nats, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortening, "_LOOK_SECONDS", 0.05)
    store = await opened(url)
    await fill(store)

    async def short() -> bool:
        return await messages(nats, url) <= SLACK

    await eventually(short)
    assert [event.data for event in await everything(store)] == [b"48" * 100, b"49" * 100]  # all that is kept
    await store.aclose()


async def test_a_damaged_snapshot_is_refused(nats: Nats, store: NatsStore, url: str, tmp_path: Path) -> None:
    await fill(store)
    assert await shorten(store)
    kept = store._following.snapshots
    manifest = await kept.newest(store._following.identity.log)
    assert manifest is not None
    longer = msgspec.structs.replace(manifest, size=manifest.size + 1)
    elsewhere = msgspec.structs.replace(manifest, chunks=manifest.chunks + 1)  # the message that says it is done
    for index, wrong in enumerate((longer, elsewhere)):
        with pytest.raises(Unavailable, match="is damaged"):
            await kept.load(wrong, tmp_path / f"{index}.db")


async def test_a_snapshot_that_is_replaced_while_it_is_read_is_not_put_together_wrongly(
    nats: Nats, store: NatsStore, url: str, tmp_path: Path
) -> None:
    await fill(store)
    assert await shorten(store)
    manifest = await store._following.snapshots.newest(store._following.identity.log)
    assert manifest is not None
    async with connected(nats.url) as client:
        await client.jetstream().purge_stream(url.rpartition("/")[2] + "-snapshot")
    with pytest.raises(Unavailable, match="replaced meanwhile"):
        await store._following.snapshots.load(manifest, tmp_path / "copy.db")


async def test_a_failed_shortening_is_tried_again(nats: Nats, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortening, "_LOOK_SECONDS", 0.02)
    real, failed = snapshots.Snapshots.save, []

    async def save(self: snapshots.Snapshots, path: Path, place: Place, identity: Identity) -> object:
        if not failed:
            failed.append(path)
            raise Unavailable
        return await real(self, path, place, identity)

    monkeypatch.setattr(snapshots.Snapshots, "save", save)
    store = await opened(url)
    await fill(store)

    async def short() -> bool:
        return await messages(nats, url) <= SLACK

    await eventually(short)
    assert failed
    await store.aclose()
