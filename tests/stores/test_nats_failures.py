"""NATS is killed, held up, loses what it had: nothing acknowledged is lost or doubled, and what is lost is told."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import trustme
from tests.engines.nats_server import Nats
from tests.stores.nats_logs import (
    append_until_it_works,
    connected,
    entry,
    eventually,
    everything,
    log_name,
    remove,
)

from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import StoreUnusable, TopicNotFound, Unavailable
from tailrace.log.store import Receipt, Store
from tailrace.stores.from_url import open_store
from tailrace.stores.nats import NatsStore, following
from tailrace.stores.nats.journal import Append, Record, subject_of
from tailrace.stores.nats.servers import Unsure
from tailrace.stores.nats.stream import Stream

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nats]:
    with Nats(tmp_path / "nats") as one:
        yield one


@pytest.fixture(autouse=True)
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_SURE_SECONDS", 0.2)


@pytest.fixture
def url(server: Nats) -> str:
    return f"{server.url}/log?timeout=2"


@pytest.fixture
async def store(url: str) -> AsyncIterator[NatsStore]:
    one = await open_store(url)
    assert isinstance(one, NatsStore)
    yield one
    await one.aclose()


# ---- answers that are lost --------------------------------------------------------------------------------


def lose_answers(monkeypatch: pytest.MonkeyPatch, *, written: bool, count: int = 1) -> None:
    real = Stream.write
    left = [count]

    async def write(self: Stream, subject: str, record: Record, expected: int) -> int:
        if left[0] == 0:
            return await real(self, subject, record, expected)
        left[0] -= 1
        if written:
            await real(self, subject, record, expected)
        raise Unsure("The answer was lost.")

    monkeypatch.setattr(Stream, "write", write)


@pytest.mark.parametrize("written", [True, False])
async def test_an_append_whose_answer_is_lost_is_stored_once(
    store: NatsStore, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    lose_answers(monkeypatch, written=written)
    first = await store.append([entry("a", b"1")])
    second = await store.append([entry("a", b"2")])
    assert [event.data for event in await everything(store)] == [b"1", b"2"]
    assert first.last == second.previous


async def test_a_configuration_whose_answer_is_lost_is_answered_all_the_same(
    store: NatsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.append([entry()])
    lose_answers(monkeypatch, written=True)
    config = TopicConfig(idle_seconds=5)
    assert (await store.configure("a", config)).config == config


async def test_a_record_that_lands_after_it_was_tried_again_counts_once(
    store: NatsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, landed = Stream.write, []

    async def late(self: Stream, subject: str, record: Record, expected: int) -> int:
        if not landed:
            landed.append((subject, record, expected))
            raise Unsure("It is on its way.")
        if len(landed) == 1:
            landed.append(landed[0])
            await real(self, *landed[0])
        return await real(self, subject, record, expected)

    monkeypatch.setattr(Stream, "write", late)
    [receipt] = (await store.append([entry()])).results
    assert isinstance(receipt, Receipt)
    assert [event.position for event in await everything(store)] == [receipt.first]


# ---- a server that is away --------------------------------------------------------------------------------


async def test_everything_acknowledged_is_there_once_though_the_server_is_killed(
    server: Nats, store: NatsStore
) -> None:
    acknowledged: list[bytes] = []
    done = False

    async def publisher(number: int) -> None:
        index = 0
        while not done:
            data = f"{number}-{index}".encode()
            appended = await append_until_it_works(store, entry("a", data, idempotency_key=data.decode()))
            assert isinstance(appended.results[0], Receipt)
            acknowledged.append(data)
            index += 1

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(publisher(number))
        for _ in range(2):
            before = len(acknowledged)
            await eventually(lambda before=before: _is(len(acknowledged) > before + 50))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        before = len(acknowledged)
        await eventually(lambda: _is(len(acknowledged) > before + 50))
        done = True
    kept = [event.data for event in await everything(store)]
    assert sorted(kept) == sorted(acknowledged)


async def _is(value: bool) -> bool:
    return value


async def test_without_a_server_reading_goes_on_and_the_rest_is_unavailable(server: Nats, store: NatsStore) -> None:
    await store.append([entry()])
    server.kill()
    for refused in (lambda: store.append([entry()]), store.tip, lambda: store.configure("a", TopicConfig())):
        with pytest.raises(Unavailable):
            await asyncio.wait_for(refused(), 20)
    assert len(await everything(store)) == 1
    server.start()
    await append_until_it_works(store, entry())
    assert len(await everything(store)) == 2


async def test_a_server_that_is_held_up_costs_bounded_time(server: Nats, url: str) -> None:
    store = await open_store(url.replace("timeout=2", "timeout=0.3"))
    server.pause()
    try:
        for refused in (lambda: store.append([entry()]), store.tip):
            with pytest.raises(Unavailable):
                await asyncio.wait_for(refused(), 20)
    finally:
        server.resume()
    await append_until_it_works(store, entry("b", b"2", idempotency_key="k"))
    await store.tip()
    assert [event.data for event in await everything(store) if event.topic == "b"] == [b"2"]
    await store.aclose()


async def test_after_an_absence_listeners_are_told_to_look(server: Nats, store: NatsStore, url: str) -> None:
    other = await open_store(url)
    async with aclosing(store.hints()) as hints:
        coming = asyncio.ensure_future(anext(hints))
        await asyncio.sleep(0)
        server.kill()
        server.start()
        hint = await asyncio.wait_for(coming, 20)
        assert hint.last == (await store.tip()).position
        last = (await append_until_it_works(other, entry())).last
        while hint.last < last:
            hint = await asyncio.wait_for(anext(hints), 20)
    await other.aclose()


# ---- a journal that has lost records ------------------------------------------------------------------------


def set_back(server: Nats, folder: Path, between: Callable[[], None] = lambda: None) -> None:
    """Start the server with an older copy of its files."""
    server.kill()
    between()
    shutil.rmtree(server.folder / "jetstream")
    shutil.copytree(folder, server.folder / "jetstream")
    server.start()


async def copied(server: Nats, folder: Path) -> Path:
    server.stop()
    shutil.copytree(server.folder / "jetstream", folder)
    server.start()
    return folder


async def gap_of(store: NatsStore, after: Cursor) -> str | None:
    gap = (await store.read(Selection(), after, 10)).gap
    return None if gap is None else gap.reason


async def test_a_journal_without_its_end_begins_a_new_epoch(server: Nats, store: NatsStore, tmp_path: Path) -> None:
    await store.append([entry("a", b"kept")])
    kept = await store.tip()
    folder = await copied(server, tmp_path / "copy")
    await append_until_it_works(store, entry("a", b"lost"))
    lost = await store.tip()
    set_back(server, folder)
    await eventually(lambda: _epoch_beyond(store, kept.epoch))
    assert [event.data for event in await everything(store)] == [b"kept"]
    assert (await gap_of(store, kept), await gap_of(store, lost)) == (None, "epoch")
    await store.append([entry("a", b"new")])
    assert [event.data for event in (await store.read(Selection(), lost, 10)).events] == [b"new"]


async def _epoch_beyond(store: NatsStore, epoch: int) -> bool:
    return (await store.tip()).epoch > epoch


async def test_all_nodes_agree_on_the_new_epoch(server: Nats, store: NatsStore, url: str, tmp_path: Path) -> None:
    other = await open_store(url)
    await store.append([entry("a", b"kept")])
    kept = await store.tip()
    folder = await copied(server, tmp_path / "copy")
    await append_until_it_works(store, entry("a", b"lost"))
    await eventually(lambda: _has(other, 2))
    set_back(server, folder)
    await eventually(lambda: _epoch_beyond(store, kept.epoch))
    await append_until_it_works(other, entry("a", b"new"))
    await eventually(lambda: _same_tip(store, other))
    assert await everything(store) == await everything(other)
    assert [event.data for event in await everything(store)] == [b"kept", b"new"]
    await other.aclose()


async def test_a_node_that_was_away_does_not_write_before_it_has_looked(
    server: Nats, store: NatsStore, url: str, tmp_path: Path
) -> None:
    """The journal is as long as it was, and holds something else."""
    other = await open_store(url)
    await store.append([entry("a", b"kept")])
    kept = await store.tip()
    folder = await copied(server, tmp_path / "copy")
    await append_until_it_works(store, entry("a", b"lost"))
    await eventually(lambda: _has(other, 2))
    async with other._following.turn:
        appending = asyncio.create_task(append_until_it_works(other, entry("a", b"new")))
        await asyncio.sleep(0)  # it is the first that waits for the turn
        set_back(server, folder)
        await eventually(lambda: _epoch_beyond(store, kept.epoch))
        await eventually(lambda: _is_connected(other))
    await appending
    await eventually(lambda: _has(store, 2))
    assert [event.data for event in await everything(store)] == [b"kept", b"new"]
    assert await everything(store) == await everything(other)
    await other.aclose()


async def _is_connected(store: NatsStore) -> bool:
    return bool(store._following._servers._client.is_connected)


async def test_a_record_of_a_node_that_was_mistaken_is_passed_over_by_all(
    store: NatsStore, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = await open_store(url)
    await store.append([entry("a", b"1")])
    tip = await store.tip()
    journal, place = store._following.stream, store._following.replica.place
    mistaken = Record(place.log, "mistaken", 1, "lost-7-7", 0, Append([entry("a", b"never")]))
    await journal.write(subject_of("log", mistaken.command), mistaken, place.sequence)
    await append_until_it_works(other, entry("a", b"2"))
    await append_until_it_works(store, entry("a", b"3"))
    newcomer = await open_store(url)
    for node in (store, other, newcomer):
        await eventually(lambda node=node: _has(node, 3))
        assert [event.data for event in await everything(node)] == [b"1", b"2", b"3"]
        assert (await node.tip()).epoch == tip.epoch  # nothing was lost
    assert "mistaken-1-0 does not go on from the one before it, and is passed over" in caplog.text
    await other.aclose()
    await newcomer.aclose()


async def _has(store: object, count: int) -> bool:
    assert isinstance(store, NatsStore)
    await store.tip()
    return len(await everything(store)) == count


async def _same_tip(one: object, other: object) -> bool:
    assert isinstance(one, NatsStore)
    assert isinstance(other, NatsStore)
    return await one.tip() == await other.tip()


async def test_a_replica_that_knows_more_than_a_journal_others_have_continued_notices(
    server: Nats, url: str, tmp_path: Path
) -> None:
    kept_file = f"{url}&replica={tmp_path / 'replica.db'}"
    store = await open_store(kept_file)
    await store.append([entry("a", b"kept")])
    folder = await copied(server, tmp_path / "copy")
    await append_until_it_works(store, entry("a", b"lost"))
    lost = await store.tip()
    await store.aclose()
    set_back(server, folder)
    other = await open_store(url)  # knows nothing of the loss
    for data in (b"new", b"newer"):
        await other.append([entry("a", data)])
    store = await open_store(kept_file)
    assert isinstance(store, NatsStore)
    assert [event.data for event in await everything(store)] == [b"kept", b"new", b"newer"]
    assert await gap_of(store, lost) == "epoch"
    await eventually(lambda: _same_tip(store, other))
    for one in (store, other):
        await one.aclose()


async def test_a_stream_that_is_deleted_is_begun_anew_in_a_later_epoch(server: Nats, store: NatsStore) -> None:
    await store.append([entry()])
    before = await store.tip()
    await remove(server.url, "log")
    await eventually(lambda: _epoch_beyond(store, before.epoch))
    assert await everything(store) == []
    assert await gap_of(store, before) == "epoch"
    assert isinstance((await store.append([entry()])).results[0], Receipt)


async def test_a_publish_after_the_stream_was_deleted_goes_into_the_new_one(server: Nats, store: NatsStore) -> None:
    await store.append([entry()])
    before = await store.tip()
    await remove(server.url, "log")
    appended = await append_until_it_works(store, entry("b"))
    assert appended.epoch > before.epoch
    with pytest.raises(TopicNotFound):
        await store.describe("a")


async def test_nodes_agree_on_the_stream_that_takes_a_deleted_ones_place(
    server: Nats, store: NatsStore, url: str
) -> None:
    other = await open_store(url)
    await store.append([entry()])
    await remove(server.url, "log")
    await asyncio.gather(*[append_until_it_works(one, entry("b")) for one in (store, other)])
    await eventually(lambda: _same_tip(store, other))
    assert await everything(store) == await everything(other)
    assert len(await everything(store)) == 2
    await other.aclose()


# ---- opening ----------------------------------------------------------------------------------------------


async def refused(url: str) -> str:
    with pytest.raises(StoreUnusable) as caught:
        await open_store(url)
    return caught.value.sentence


async def test_a_server_that_is_not_there_is_refused(server: Nats, url: str) -> None:
    server.kill()
    assert "check host, port and that it runs" in await refused(url)


async def test_a_stream_of_somebody_else_is_left_alone(server: Nats, url: str) -> None:
    async with connected(server.url) as client:
        await client.jetstream().add_stream(name="log", subjects=["log.x"])
        assert "is no log: choose another name" in await refused(url)
        assert (await client.jetstream().stream_info("log")).config.subjects == ["log.x"]


async def test_subjects_that_another_stream_takes_are_told(server: Nats, url: str) -> None:
    async with connected(server.url) as client:
        await client.jetstream().add_stream(name="other", subjects=["log.>"])
    assert "subjects overlap" in await refused(url)


async def test_more_replicas_than_servers_are_refused_and_nothing_is_created(server: Nats, url: str) -> None:
    assert "replicas > 1 not supported" in await refused(f"{url}&replicas=3")
    async with connected(server.url) as client:
        assert await client.jetstream().streams_info() == []


async def test_a_log_created_with_other_settings_is_refused(store: NatsStore, url: str) -> None:
    assert "replicas=1, and the URL says 3" in await refused(f"{url}&replicas=3")
    assert "sync=no, and the URL says always" in await refused(f"{url}&sync=always")


async def test_a_stream_whose_settings_were_changed_is_refused(server: Nats, store: NatsStore, url: str) -> None:
    async with connected(server.url) as client:
        config = (await client.jetstream().stream_info("log")).config
        config.max_msgs = 5
        await client.jetstream().update_stream(config)
    assert "max_msgs of the stream is 5" in await refused(url)
    with pytest.raises(Unavailable, match="max_msgs of the stream is 5"):
        await store.tip()


async def test_a_journal_of_a_newer_program_is_refused(server: Nats, store: NatsStore, url: str) -> None:
    await store.append([entry()])
    async with connected(server.url) as client:
        await client.request("log.c", b"?", timeout=5, headers={"Tailrace": "2"})
    assert "upgrade Tailrace" in await refused(url)
    with pytest.raises(Unavailable, match="upgrade Tailrace"):
        await store.tip()
    assert len(await everything(store)) == 1


async def test_a_full_journal_takes_no_more_and_then_goes_on(server: Nats, tmp_path: Path) -> None:
    from tailrace.errors import StoreFull

    folder = tmp_path / "small"
    with SmallNats(folder) as small:
        store = await open_store(f"{small.url}/log")
        with pytest.raises(StoreFull):
            await append_large(store, 50)
        count = len(await everything(store))
        assert 0 < count < 50
        await store.aclose()
        store = await open_store(f"{small.url}/log")
        assert len(await everything(store)) == count
        await store.aclose()


async def append_large(store: Store, count: int) -> None:
    for _ in range(count):
        await store.append([entry("a", b"x" * 500_000)])


class SmallNats(Nats):
    """With room for little."""

    def prepare(self) -> None:
        (self.folder / "nats.conf").write_text("jetstream { max_file_store: 4MB }\n")

    def command(self) -> list[str]:
        return [*super().command(), "--config", str(self.folder / "nats.conf")]


class GuardedNats(Nats):
    """With users: one who may do all, and one who may not use JetStream."""

    def prepare(self) -> None:
        (self.folder / "nats.conf").write_text(
            """authorization { users: [
                {user: all, password: "s:cret/%"}
                {user: some, password: p, permissions: {publish: ["x"]}}
            ] }"""
        )

    def command(self) -> list[str]:
        return [*super().command(), "--config", str(self.folder / "nats.conf")]


async def test_who_may_not_is_told_so(tmp_path: Path) -> None:
    with GuardedNats(tmp_path / "guarded") as server:
        at = server.url.removeprefix("nats://")
        store = await open_store(f"nats://all:s%3Acret%2F%25@{at}/log?timeout=2")
        assert isinstance((await store.append([entry()])).results[0], Receipt)
        await store.aclose()
        for who in ("all:wrong", "nobody:p", "token"):
            sentence = await refused(f"nats://{who}@{at}/log?timeout=2")
            assert "refused this user or password" in sentence
            assert "wrong" not in sentence
        sentence = await refused(f"nats://some:p@{at}/log?timeout=2")
        assert "ermissions" in sentence, sentence


class SafeNats(Nats):
    """With TLS. Its certificate is that of an authority which nobody knows by himself."""

    def prepare(self) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(self.folder / "ca.pem")
        certificate.cert_chain_pems[0].write_to_path(self.folder / "cert.pem")
        certificate.private_key_pem.write_to_path(self.folder / "key.pem")

    def command(self) -> list[str]:
        files = ["--tlscert", str(self.folder / "cert.pem"), "--tlskey", str(self.folder / "key.pem")]
        return [*super().command(), "--tls", *files]


async def test_over_tls_the_authority_can_be_named(tmp_path: Path) -> None:
    with SafeNats(tmp_path / "safe") as server:
        url = f"{server.url.replace('nats://', 'tls://')}/log?timeout=2"
        store = await open_store(f"{url}&ca={server.folder / 'ca.pem'}")
        assert isinstance((await store.append([entry()])).results[0], Receipt)
        await store.aclose()
        assert "certificate verify failed" in await refused(url)
        for name in ("ca", "creds"):
            assert "cannot be read" in await refused(f"{url}&{name}={tmp_path / 'nothing.pem'}")
        (tmp_path / "empty.creds").write_text("")
        assert await refused(f"{url}&creds={tmp_path / 'empty.creds'}")


class PlainNats(Nats):
    """Without JetStream."""

    def command(self) -> list[str]:
        return [word for word in super().command() if word != "--jetstream"]


async def test_a_server_without_jetstream_is_refused(tmp_path: Path) -> None:
    with PlainNats(tmp_path / "plain") as server:
        assert "start nats-server with --jetstream" in await refused(f"{server.url}/{log_name()}?timeout=2")


async def test_a_server_that_is_too_old_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tailrace.stores.nats import servers

    monkeypatch.setattr(servers, "OLDEST_SERVER", (99, 1))
    assert "needs 99.1 or newer: upgrade the server" in await refused(url)
