"""What only a store over a network has to keep: many nodes, lost connections, killed servers, strange servers."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
import redis.asyncio as redis_driver
from tests.engines.engine import free_port
from tests.engines.postgres_server import Postgres
from tests.engines.redis_server import Redis

from tailrace.core.condition import Condition
from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import ConditionFailed, ConfigError, StoreUnusable, Unavailable
from tailrace.log.store import Appended, Entry, Hint, Receipt
from tailrace.stores.from_url import open_store
from tailrace.stores.postgres import PostgresStore

pytestmark = pytest.mark.anyio

_numbers = itertools.count(1)
EVERYTHING = Selection()


@pytest.fixture
def url(postgres: Postgres) -> str:
    """The URL of a log that is not there yet."""
    return f"{postgres.url}?schema=nodes_{os.getpid()}_{next(_numbers)}&outbox_seconds=0.05"


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(url)
    yield store
    await store.aclose()


@pytest.fixture
async def other(url: str, store: PostgresStore) -> AsyncIterator[PostgresStore]:
    """A second node on the same log."""
    other = await PostgresStore.open(url)
    yield other
    await other.aclose()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Postgres]:
    """A server that may be killed."""
    with Postgres(tmp_path / "postgres") as server:
        yield server


def entry(topic: str = "a", data: bytes = b"1", **rules: object) -> Entry:
    return Entry(topic=topic, drafts=[Draft(topic=topic, data=data)], **rules)  # type: ignore[arg-type]


async def publish(store: PostgresStore, topic: str = "a", data: bytes = b"1", **rules: object) -> Receipt:
    [result] = (await store.append([entry(topic, data, **rules)])).results
    assert isinstance(result, Receipt), result
    return result


async def contents(store: PostgresStore) -> list[bytes]:
    found: list[bytes] = []
    after = Cursor(0, 0)
    while True:
        page = await store.read(EVERYTHING, after, 1000)
        found += [event.data for event in page.events]
        if page.exhausted:
            return found
        after = page.last


async def eventually(ask: Callable[[], Awaitable[object]], seconds: float = 20) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not await ask():  # noqa: ASYNC110 - what it asks is elsewhere
            await asyncio.sleep(0.01)


class Cutter:
    """Between a store and its server: passes everything on, until it is told to cut an answer off."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = free_port()
        self.cut_before: bytes | None = None
        """Cut as soon as this comes from the client, without passing it on."""
        self.cut_after: bytes | None = None
        """Pass on what holds this, and cut when the server answers."""
        self.cuts = 0
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Cutter]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, up]
        armed = asyncio.Event()
        with suppress(OSError):
            await asyncio.gather(self._up(reader, up, armed), self._down(up_reader, writer, armed))

    async def _up(self, reader: asyncio.StreamReader, up: asyncio.StreamWriter, armed: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if self.cut_before is not None and self.cut_before in data:
                self.cut_before = None
                self.cuts += 1
                self.cut()
                return
            if self.cut_after is not None and self.cut_after in data:
                self.cut_after = None
                armed.set()
            up.write(data)
        up.close()

    async def _down(self, reader: asyncio.StreamReader, down: asyncio.StreamWriter, armed: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if armed.is_set():
                self.cuts += 1
                self.cut()
                return
            down.write(data)
        down.close()


@pytest.fixture
async def cutter(postgres: Postgres) -> AsyncIterator[Cutter]:
    async with Cutter(postgres.port).running() as cutter:
        yield cutter


def through(cutter: Cutter, url: str, postgres: Postgres) -> str:
    return url.replace(f":{postgres.port}/", f":{cutter.port}/")


# ---- many nodes -------------------------------------------------------------------------------------------


async def test_nodes_that_start_at_once_make_one_log(url: str) -> None:
    stores = await asyncio.gather(*[PostgresStore.open(url) for _ in range(5)])
    tips = {await store.tip() for store in stores}
    await asyncio.gather(*[store.aclose() for store in stores])
    assert len(tips) == 1


async def test_two_nodes_that_publish_at_once_make_one_history(store: PostgresStore, other: PostgresStore) -> None:
    async def write(node: PostgresStore, name: str) -> list[Appended]:
        return [
            await node.append([entry(topic, f"{name}{number}{topic}".encode()) for topic in ("a", "b")])
            for number in range(60)
        ]

    batches = [batch for made in await asyncio.gather(write(store, "x"), write(other, "y")) for batch in made]
    batches.sort(key=lambda batch: batch.last)
    assert all(later.previous == before.last for before, later in itertools.pairwise(batches))
    told = [event.data for batch in batches for event in batch.events]
    assert await contents(store) == await contents(other) == told
    assert (await store.describe("a")).events == 120


async def test_plain_and_other_publishing_of_two_nodes_make_one_history(
    store: PostgresStore, other: PostgresStore
) -> None:
    async def plain() -> list[Appended]:
        return [await store.append([entry("a"), entry("b")]) for _ in range(80)]

    async def ruled() -> list[Appended]:
        batches = []
        for number in range(40):
            batches.append(await other.append([entry("a", producer=Producer("p", 0, number))]))
            batches.append(await other.append([entry("b", condition=Condition(Selection(["c"]), await other.tip()))]))
            batches.append(await other.append([entry("a", idempotency_key=str(number))]))
        return batches

    batches = [batch for made in await asyncio.gather(plain(), ruled()) for batch in made]
    batches.sort(key=lambda batch: batch.last)
    assert all(later.previous == before.last for before, later in itertools.pairwise(batches))
    assert all(isinstance(result, Receipt) for batch in batches for result in batch.results)
    read = await other.read(EVERYTHING, Cursor(0, 0), 1000)
    assert list(read.events) == [event for batch in batches for event in batch.events]
    for name in ("a", "b"):
        own = [event for event in read.events if event.topic == name]
        info = await store.describe(name)
        assert (info.events, info.size, info.tail) == (len(own), len(own), own[-1].position)


async def test_of_two_nodes_with_the_same_condition_one_is_refused(store: PostgresStore, other: PostgresStore) -> None:
    for _ in range(10):
        condition = Condition(EVERYTHING, await store.tip())
        outcomes = await asyncio.gather(*[node.append([entry(condition=condition)]) for node in (store, other)])
        results = [outcome.results[0] for outcome in outcomes]
        assert sorted(type(result) for result in results if isinstance(result, Receipt)) == [Receipt]
        assert [type(result) for result in results if not isinstance(result, Receipt)] == [ConditionFailed]


async def test_a_producers_request_sent_to_two_nodes_is_stored_once(store: PostgresStore, other: PostgresStore) -> None:
    for number in range(10):
        claim = Producer("p", 0, number)
        receipts = await asyncio.gather(*[publish(node, producer=claim) for node in (store, other)])
        assert sorted(receipt.duplicate for receipt in receipts) == [False, True]
    assert len(await contents(store)) == 10


async def test_what_another_node_changed_is_seen_at_once(store: PostgresStore, other: PostgresStore) -> None:
    await publish(store)
    await other.configure("a", TopicConfig(content_type="text/plain"))
    await publish(other, close=True)
    [result] = (await store.append([entry()])).results
    assert not isinstance(result, Receipt)
    assert result.code == "topic_closed"


async def test_nodes_that_sweep_at_once_remove_each_event_once(store: PostgresStore, other: PostgresStore) -> None:
    await store.append([Entry(topic="a", drafts=[Draft(topic="a", data=b"1")] * 200)])
    await store.configure("a", TopicConfig(retention=Retention(max_events=50)))
    swept = await asyncio.gather(*[node.sweep("a", 0, 100) for node in (store, other, store, other)])
    assert sum(one.events for one in swept) == 150
    assert (await store.describe("a")).events == len(await contents(store)) == 50


# ---- hints ------------------------------------------------------------------------------------------------


async def next_hint(hints: AsyncIterator[Hint], beyond: int) -> Hint:
    async with asyncio.timeout(20):
        async for hint in hints:
            if hint.last > beyond:
                return hint
    raise AssertionError("hints have ended")


async def test_another_node_is_told_with_what_was_appended(store: PostgresStore, other: PostgresStore) -> None:
    hints, tip = other.hints(), await other.tip()
    await next_hint(hints, 0)  # it listens now
    appended = await store.append([entry(data=b"small")])
    hint = await next_hint(hints, tip.position)
    assert hint.appended is not None
    assert list(hint.appended.events) == list(appended.events)
    assert (hint.appended.previous, hint.last) == (appended.previous, appended.last)


async def test_of_a_large_batch_another_node_is_told_its_end(store: PostgresStore, other: PostgresStore) -> None:
    hints, tip = other.hints(), await other.tip()
    await next_hint(hints, 0)
    appended = await store.append([entry(data=bytes(100_000))])
    assert await next_hint(hints, tip.position) == Hint(appended.last)


async def test_hints_come_again_after_their_connection_was_lost(
    url: str, postgres: Postgres, cutter: Cutter, store: PostgresStore
) -> None:
    node = await PostgresStore.open(through(cutter, url, postgres))
    hints = node.hints()
    await next_hint(hints, 0)
    cutter.cut()
    receipt = await publish(store)
    assert receipt.last is not None
    assert (await next_hint(hints, receipt.last - 1)).last == receipt.last
    await node.aclose()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path / "redis") as server:
        yield server


async def test_hints_may_go_through_redis_and_come_again_when_it_was_gone(url: str, own_redis: Redis) -> None:
    url = f"{url}&hints={quote(own_redis.url, safe='')}"
    nodes = [await PostgresStore.open(url) for _ in range(2)]
    heard: list[int] = []

    async def listen() -> None:
        async for hint in nodes[1].hints():
            heard.append(hint.last)  # noqa: PERF401 - read while this goes on

    async def told() -> bool:
        """Whether another node, and whoever listens in Redis, is told of a publish."""
        client = redis_driver.Redis.from_url(own_redis.url)
        try:
            async with client.pubsub() as ears, asyncio.timeout(1):
                await ears.psubscribe("*")
                last = (await publish(nodes[0])).last
                while (message := await ears.get_message(timeout=1)) is None or message["type"] != "pmessage":
                    pass
                while last not in heard:  # noqa: ASYNC110 - the node tells nobody else
                    await asyncio.sleep(0.01)
                return True
        except (TimeoutError, redis_driver.RedisError):
            return False
        finally:
            await client.aclose()

    listening = asyncio.create_task(listen())
    await eventually(told)
    await asyncio.to_thread(own_redis.kill)
    await publish(nodes[0], data=b"nobody is told")
    await asyncio.to_thread(own_redis.start)
    await eventually(told)
    assert max(heard) == (await nodes[0].tip()).position
    await asyncio.gather(*[node.aclose() for node in nodes], listening)


async def test_hints_through_something_else_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="must be a redis:// URL"):
        await PostgresStore.open(f"{url}&hints=http://x")


# ---- lost connections -------------------------------------------------------------------------------------

PLAIN: dict[str, object] = {}
LOOKING: dict[str, object] = {"condition": Condition(Selection(["never"]), Cursor(0, 0))}


@pytest.mark.parametrize(("rules", "sent"), [(PLAIN, b"cut here"), (LOOKING, b"COMMIT")])
@pytest.mark.parametrize("when", ["cut_before", "cut_after"])
async def test_an_append_that_is_cut_is_stored_once(
    url: str, postgres: Postgres, cutter: Cutter, rules: dict[str, object], sent: bytes, when: str
) -> None:
    node = await PostgresStore.open(through(cutter, url, postgres))
    await publish(node, data=b"before", **rules)
    setattr(cutter, when, sent)
    receipt = await publish(node, data=b"cut here", **rules)
    await publish(node, data=b"after", **rules)
    assert cutter.cuts == 1
    assert await contents(node) == [b"before", b"cut here", b"after"]
    assert (await node.read(EVERYTHING, Cursor(0, 0), 9)).events[1].position == receipt.first
    await node.aclose()


async def test_readers_do_not_notice_that_an_idle_connection_was_lost(
    url: str, postgres: Postgres, cutter: Cutter
) -> None:
    node = await PostgresStore.open(through(cutter, url, postgres))
    await publish(node)
    assert await contents(node) == [b"1"]
    cutter.cut()
    assert await contents(node) == [b"1"]
    await node.aclose()


async def test_a_server_that_is_held_up_is_not_waited_for_for_ever(own_server: Postgres) -> None:
    store = await PostgresStore.open(f"{own_server.url}?wait_seconds=0.3&connect_seconds=0.3")
    await publish(store)
    own_server.pause()
    try:
        async with asyncio.timeout(20):
            for ask in (store.tip(), store.append([entry()]), store.read(EVERYTHING, Cursor(0, 0), 1)):
                with pytest.raises(Unavailable):
                    await ask
    finally:
        own_server.resume()
    await eventually(lambda: _answers(store))
    await publish(store, data=b"2")
    assert (await contents(store))[-1] == b"2"
    await store.aclose()


async def test_what_was_acknowledged_survives_a_killed_server_and_nothing_is_doubled(own_server: Postgres) -> None:
    store = await PostgresStore.open(f"{own_server.url}?wait_seconds=1&connect_seconds=1")
    acknowledged: list[bytes] = []
    tried = itertools.count()

    async def write() -> None:
        while len(acknowledged) < 150:
            data = b"%d" % next(tried)
            with suppress(Unavailable):
                await publish(store, data=data)
                acknowledged.append(data)
            await asyncio.sleep(0)

    async def kill() -> None:
        for least in (20, 60):
            await eventually(lambda least=least: _is(len(acknowledged) >= least))
            await asyncio.to_thread(own_server.kill)
            await asyncio.to_thread(own_server.start)

    await asyncio.gather(write(), kill())
    stored = await contents(store)
    assert len(stored) == len(set(stored))
    assert [data for data in stored if data in set(acknowledged)] == acknowledged
    await store.aclose()


async def _answers(store: PostgresStore) -> bool:
    with suppress(Unavailable):
        await store.tip()
        return True
    return False


async def _is(what: bool) -> bool:
    return what


async def test_a_log_that_lost_its_end_begins_a_new_epoch(
    url: str, postgres: Postgres, store: PostgresStore, other: PostgresStore
) -> None:
    await publish(store)
    seen = await publish(store)
    assert seen.last is not None
    old = Cursor(seen.epoch, seen.last)
    session = await asyncpg.connect(postgres.url)
    schema = url.partition("schema=")[2].partition("&")[0]
    await session.execute(f"DELETE FROM {schema}.events WHERE position >= {seen.last}")
    await session.execute(f"UPDATE {schema}.log SET last = {seen.last - 1}, change = 2")
    await session.close()
    tip = await store.tip()
    assert tip == Cursor(seen.epoch + 1, seen.last - 1)
    page = await store.read(EVERYTHING, old, 10)
    assert page.gap is not None
    assert (page.gap.reason, page.gap.available.position) == ("epoch", seen.last - 1)
    again = await publish(store)
    assert (again.epoch, again.last) == (seen.epoch + 1, seen.last)
    assert (await other.read(EVERYTHING, old, 10)).gap == page.gap


async def test_a_log_on_another_server_than_before_begins_a_new_epoch(
    url: str, postgres: Postgres, store: PostgresStore
) -> None:
    receipt = await publish(store)
    assert receipt.last is not None
    schema = url.partition("schema=")[2].partition("&")[0]
    session = await asyncpg.connect(postgres.url)
    await session.execute(f"UPDATE {schema}.log SET server = 'before the failover'")
    await session.close()
    node = await PostgresStore.open(url)
    assert await node.tip() == Cursor(receipt.epoch + 1, receipt.last)
    assert (await node.read(EVERYTHING, Cursor(receipt.epoch, receipt.last), 1)).gap is None
    assert (await publish(store)).epoch == receipt.epoch + 1
    await node.aclose()


# ---- refused at once --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        ("?schemo=x", "unknown option 'schemo'. Did you mean 'schema'"),
        ("?pool=none", "cannot be read"),
        ("?pool=0", "from 1 to 100"),
        ("?schema=Ü", "lower-case"),
        ("?schema=", "lower-case"),
        ("?prefix=1", "lower-case"),
    ],
)
async def test_an_option_that_cannot_be_is_refused_with_a_sentence(postgres: Postgres, end: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as refused:
        await open_store(postgres.url.replace("tailrace@", "tailrace:secret@") + end)
    assert "secret" not in str(refused.value)


async def test_a_url_without_a_database_is_refused() -> None:
    with pytest.raises(ConfigError, match="names no database"):
        await open_store("postgres://user@127.0.0.1")


async def refused(url: str) -> str:
    """The sentence with which a log is refused, which tells no password."""
    with pytest.raises(StoreUnusable) as error:
        await open_store(url)
    assert "secret" not in str(error.value)
    return error.value.sentence


async def test_a_server_that_is_not_there_is_refused() -> None:
    assert "cannot be reached" in await refused(f"postgres://user:secret@127.0.0.1:{free_port()}/x")
    assert "cannot be reached" in await refused("postgres://user:secret@no-such-host.invalid/x")


async def test_a_database_or_user_that_is_not_there_is_refused(postgres: Postgres) -> None:
    assert "There is no such database" in await refused(postgres.url + "_that_is_not_there")
    assert "does not let this user in" in await refused(postgres.url.replace("tailrace@", "nobody:secret@"))


async def test_a_server_that_does_not_answer_is_refused_in_time(own_server: Postgres) -> None:
    own_server.pause()
    try:
        assert "did not answer within 0.2 s" in await refused(f"{own_server.url}?connect_seconds=0.2")
    finally:
        own_server.resume()


async def test_a_newer_log_is_refused_and_left_as_it_is(url: str, postgres: Postgres, store: PostgresStore) -> None:
    schema = url.partition("schema=")[2].partition("&")[0]
    session = await asyncpg.connect(postgres.url)
    await session.execute(f"UPDATE {schema}.log SET format = 99")
    assert "newer Tailrace (format 99" in await refused(url)
    await session.close()


async def test_tables_of_another_program_are_refused(url: str, postgres: Postgres) -> None:
    schema = url.partition("schema=")[2].partition("&")[0]
    session = await asyncpg.connect(postgres.url)
    await session.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.log (line text)")
    assert "another program's" in await refused(url)
    await session.close()


async def test_a_database_that_takes_no_writes_is_refused(url: str, postgres: Postgres) -> None:
    session = await asyncpg.connect(postgres.url)
    await session.execute("CREATE ROLE reader LOGIN; ALTER ROLE reader SET default_transaction_read_only = on")
    assert "takes no writes" in await refused(url.replace("tailrace@", "reader@"))
    await session.close()


async def test_a_user_who_may_not_is_refused_and_nothing_is_made(url: str, postgres: Postgres) -> None:
    schema = url.partition("schema=")[2].partition("&")[0]
    session = await asyncpg.connect(postgres.url)
    await session.execute("CREATE ROLE guest LOGIN")
    assert "may not make the schema" in await refused(url.replace("tailrace@", "guest@"))
    assert not await session.fetchval("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)", schema)
    await (await PostgresStore.open(url)).aclose()
    await session.execute(f"GRANT USAGE ON SCHEMA {schema} TO guest; GRANT SELECT ON {schema}.log TO guest")
    assert "may not read and write" in await refused(url.replace("tailrace@", "guest@"))
    await session.close()


async def test_two_logs_in_one_schema_are_told_apart_by_their_prefixes(url: str, store: PostgresStore) -> None:
    await publish(store)
    second = await PostgresStore.open(f"{url}&prefix=second_")
    assert await contents(second) == []
    await publish(second, data=b"2")
    assert (await contents(store), await contents(second)) == ([b"1"], [b"2"])
    await second.aclose()
