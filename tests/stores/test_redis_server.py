"""Servers that cannot keep a log are refused in one sentence; servers that die, stop or forget are noticed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.engines.redis_server import Redis
from tests.stores.redis_logs import administrator, new_log, one, opened

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import ConfigError, StoreFull, StoreUnusable, Unavailable, Unsupported
from tailrace.log.store import Entry, Store
from tailrace.stores.from_url import open_store
from tailrace.stores.redis import RedisStore
from tailrace.testing.store_contract import Clock

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 30.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Redis]:
    """A server for one test alone, which syncs each command."""
    with Redis(tmp_path / "own", appendfsync="always") as server:
        yield server


async def refused(url: str) -> str:
    with pytest.raises(StoreUnusable) as caught:
        await RedisStore.open(url, Clock())
    return caught.value.sentence


async def data(store: Store) -> list[bytes]:
    page = await store.read(Selection(), Cursor((await store.tip()).epoch, 0), 1000)
    return [event.data for event in page.events]


# ---- URLs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis:///0", "names no host"),
        ("redis://h:port/0", "port"),
        ("redis://h/main", "is a number"),
        ("redis://h/0?prefx=a", "Did you mean 'prefix'"),
        ("redis://h/0?prefix=", "1 to 64"),
        ("redis://h/0?prefix=a{b}", "1 to 64"),
        ("redis://h/0?timeout=0", "more than 0"),
        ("redis://h/0?timeout=soon", "more than 0"),
        ("redis://h/0?cluster=yes", "true or false"),
        ("redis://h/3?cluster=true", "database 0"),
    ],
)
async def test_a_url_that_cannot_be_understood_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        await open_store(url)


async def test_a_url_opens_a_log(redis: Redis) -> None:
    store = await open_store(new_log(redis))
    try:
        assert store.capabilities.name == "redis"
    finally:
        await store.aclose()


# ---- servers that cannot keep a log -----------------------------------------------------------------------


async def test_a_host_that_does_not_answer_is_named(redis: Redis) -> None:
    assert "127.0.0.1:1 does not answer" in await refused("redis://127.0.0.1:1/0")


@pytest.mark.parametrize("credentials", ["", ":wrong-secret@", "nobody:wrong-secret@"])
async def test_a_wrong_password_is_told_and_not_shown(tmp_path: Path, credentials: str) -> None:
    with Redis(tmp_path / "locked", requirepass="right") as server:
        sentence = await refused(f"redis://{credentials}127.0.0.1:{server.port}/0")
        assert "password" in sentence or "Authentication" in sentence
        assert "secret" not in sentence
        async with opened(f"redis://:right@127.0.0.1:{server.port}/0") as store:
            await store.append([one()])
            assert "right" not in repr(store._connection.settings)


async def test_a_server_that_throws_keys_away_is_refused(redis: Redis) -> None:
    async with administrator(redis) as client:
        await client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            assert "set maxmemory-policy noeviction" in await refused(new_log(redis))
        finally:
            await client.config_set("maxmemory-policy", "noeviction")


async def test_a_replica_is_refused_and_one_that_becomes_a_replica_is_unavailable(redis: Redis, own: Redis) -> None:
    async with opened(new_log(own)) as store, administrator(own) as client:
        await store.append([one()])
        await client.execute_command("REPLICAOF", "127.0.0.1", redis.port)
        try:
            assert "is a replica" in await refused(new_log(own))
            with pytest.raises(Unavailable):
                await store.append([one()])
        finally:
            await client.execute_command("REPLICAOF", "NO", "ONE")


async def test_a_user_who_may_not_run_scripts_is_told(redis: Redis) -> None:
    async with administrator(redis) as client:
        await client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@all", "-evalsha", "-eval")
        sentence = await refused(f"redis://reader:pw@127.0.0.1:{redis.port}/0?prefix=forbidden")
        assert "forbids" in sentence
        assert await client.exists("{forbidden}:head") == 0


async def test_without_config_the_weakest_promise_is_made_and_told(redis: Redis) -> None:
    async with administrator(redis) as client:
        await client.execute_command("ACL", "SETUSER", "plain", "on", ">pw", "~*", "&*", "+@all", "-config")
    async with opened(f"redis://plain:pw@127.0.0.1:{redis.port}/0?prefix=noconfig") as store:
        assert store.capabilities.durability == ("written",)
        assert "CONFIG is forbidden" in store.capabilities.caveats[0]


async def test_keys_of_another_program_are_left_alone(redis: Redis) -> None:
    async with administrator(redis) as client:
        await client.set("{taken}:head", "mine")
        assert "another program" in await refused(f"{redis.url}?prefix=taken")
        assert await client.get("{taken}:head") == b"mine"


async def test_a_log_of_a_newer_format_is_left_alone(redis: Redis) -> None:
    async with administrator(redis) as client:
        await client.hset("{newer}:head", mapping={"format": "9", "epoch": "1", "last": "1"})
        assert "newer Tailrace (format 9" in await refused(f"{redis.url}?prefix=newer")


# ---- what is promised -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "level", "said"),
    [
        ({"appendfsync": "always"}, "fsync", "new epoch"),
        ({"appendfsync": "everysec"}, "written", "up to a second"),
        ({"appendfsync": "no"}, "written", "appendfsync is no"),
        ({"appendonly": "no"}, "memory", "no append-only file"),
    ],
)
async def test_what_is_promised_is_what_the_server_is_set_to(
    redis: Redis, settings: dict[str, str], level: str, said: str
) -> None:
    before = {"appendonly": "yes", "appendfsync": "everysec"}
    async with administrator(redis) as client:
        for name, value in settings.items():
            await client.config_set(name, value)
        try:
            async with opened(new_log(redis)) as store:
                assert store.capabilities.durability == (level,)
                assert said in store.capabilities.caveats[0]
                [receipt] = (await store.append([one()])).results
                assert receipt.durability == level
                [refusal] = (
                    await store.append([Entry(topic="r", create=TopicConfig(durability="replicated"))])
                ).results
                assert isinstance(refusal, Unsupported)
        finally:
            for name, value in before.items():
                await client.config_set(name, value)


async def test_a_full_server_says_so_and_nothing_remains(own: Redis) -> None:
    async with opened(new_log(own)) as store, administrator(own) as client:
        await store.append([one("a", b"before")])
        await client.config_set("maxmemory", "1")
        with pytest.raises(StoreFull, match="maxmemory"):
            await store.append([one("b", b"never"), Entry(topic="a", delete=True)])
        assert await data(store) == [b"before"]
        await client.config_set("maxmemory", "0")
        await store.append([one("a", b"after")])
        assert await data(store) == [b"before", b"after"]


# ---- servers that die, stop, forget -----------------------------------------------------------------------


async def test_what_was_synced_survives_the_death_of_the_server(own: Redis) -> None:
    async with opened(new_log(own)) as store:
        acknowledged: list[bytes] = []
        enough = asyncio.Event()

        async def write() -> None:
            for number in range(200):
                await store.append([one("a", b"%d" % number)])
                acknowledged.append(b"%d" % number)
                if number == 50:
                    enough.set()

        writing = asyncio.ensure_future(write())
        await enough.wait()
        own.kill()  # a batch is under way, and is sent again until somebody answers
        own.start()
        await writing
        assert await data(store) == acknowledged


async def test_after_a_restart_old_cursors_hold_as_far_as_the_log_is_kept(own: Redis) -> None:
    async with opened(new_log(own)) as store:
        before = await store.append([one("a", b"1"), one("a", b"2")])
        own.kill()
        own.start()
        tip = await answered(store)
        assert tip.epoch > before.epoch
        assert tip.position == before.last
        held = Cursor(before.epoch, before.last - 1)
        page = await store.read(Selection(), held, 10)
        assert (page.gap, [event.data for event in page.events]) == (None, [b"2"])
        assert page.events[0].id == f"{before.epoch}-{before.last}"
        beyond = await store.read(Selection(), Cursor(before.epoch, before.last + 5), 10)
        assert beyond.gap is not None
        assert beyond.gap.reason == "epoch"


async def answered(store: Store) -> Cursor:
    while True:
        with suppress(Unavailable):
            return await store.tip()


async def test_a_log_that_lost_its_end_begins_a_new_epoch_at_the_next_append(own: Redis) -> None:
    async with opened(new_log(own)) as store, administrator(own) as client:
        lost = await store.append([one("a", b"1"), one("a", b"2")])
        key = store._connection.settings.key
        await client.hset(key, "last", str(lost.last - 1))  # as a copy that lags would have it
        await client.delete(key.replace("head", "log"))
        appended = await store.append([one("b", b"3")])
        assert appended.epoch > lost.epoch
        page = await store.read(Selection(), Cursor(lost.epoch, lost.last), 10)
        assert page.gap is not None
        assert page.gap.reason == "epoch"
        assert b"3" in [event.data for event in page.events]


async def test_a_log_that_was_flushed_begins_anew(own: Redis) -> None:
    async with opened(new_log(own)) as store, administrator(own) as client:
        lost = await store.append([one()])
        await client.flushall()
        appended = await store.append([one("b", b"new")])
        assert appended.epoch > lost.epoch
        assert await data(store) == [b"new"]


async def test_a_server_that_stops_answering_is_given_up_in_time_and_taken_up_again(own: Redis) -> None:
    async with opened(new_log(own, timeout="0.3")) as store:
        await store.append([one("a", b"1")])
        own.pause()
        try:
            began = time.monotonic()
            for call in (store.append([one("a", b"2")]), store.tip(), store.describe("a")):
                with pytest.raises(Unavailable, match=f"127.0.0.1:{own.port}"):
                    await call
            assert time.monotonic() - began < WAIT_SECONDS
        finally:
            own.resume()
        await answered(store)
        await store.append([one("a", b"3")])
        kept = await data(store)
        assert kept in ([b"1", b"3"], [b"1", b"2", b"3"])  # what nobody could answer for may have been done


async def test_hints_come_again_when_the_server_does(own: Redis) -> None:
    async with opened(new_log(own), Clock(), Clock()) as (here, there):
        hints = there.hints()
        await asyncio.wait_for(anext(hints), WAIT_SECONDS)
        own.kill()
        own.start()
        await answered(here)
        last = (await here.append([one()])).last
        while (await asyncio.wait_for(anext(hints), WAIT_SECONDS)).last < last:
            pass
        await hints.aclose()


# ---- what is left behind ----------------------------------------------------------------------------------


async def test_topics_made_after_a_log_was_lost_share_nothing(own: Redis) -> None:
    later = Clock()
    later.forward(seconds=10)
    url = new_log(own)
    async with opened(url) as here, administrator(own) as client:
        await here.append([one("lost")])
        await client.flushall()
        async with opened(url, later) as there:
            await there.append([one("x"), one("y", b"theirs")])
            await here.append([one("new", b"ours")])
            for name, expected in {"y": b"theirs", "new": b"ours"}.items():
                page = await there.read(Selection([name]), Cursor((await there.tip()).epoch, 0), 10)
                assert [event.data for event in page.events] == [expected]


async def test_a_deleted_topic_leaves_nothing_but_its_marks(redis: Redis) -> None:
    url = new_log(redis)
    async with opened(url) as store, administrator(redis) as client:
        draft = Draft(topic="a", data=b"x", tags=("t",), key="k", expires_at=2**50)
        await store.append([Entry(topic="a", drafts=[draft] * 1200)])
        await store.append([Entry(topic="a", delete=True)])
        prefix = store._connection.settings.key.removesuffix("head")
        async with asyncio.timeout(WAIT_SECONDS):
            while await client.xlen(f"{prefix}log") or await client.exists(f"{prefix}orphans"):
                pass
        kept = sorted([key.decode().removeprefix(prefix) async for key in client.scan_iter(f"{prefix}*")])
        assert kept == ["deleted", "head", "log", "nodes", "past", "removed"]


async def test_nodes_that_have_not_written_for_long_are_forgotten(redis: Redis) -> None:
    url, clock = new_log(redis), Clock()
    async with administrator(redis) as client:
        for _ in range(102):
            async with opened(url, clock) as store:
                await store.append([one()])
        key = store._connection.settings.key.replace("head", "nodes")
        assert await client.hlen(key) == 102
        clock.forward(seconds=3601)
        async with opened(url, clock):
            assert await client.hlen(key) == 0


async def test_many_past_epochs_are_remembered_and_the_oldest_forgotten(redis: Redis) -> None:
    url = new_log(redis)
    async with opened(url) as store, administrator(redis) as client:
        key = store._connection.settings.key
        past = ",".join([f"{epoch}:{epoch}" for epoch in range(1, 1001)])
        await client.hset(key, mapping={"ends": past, "run": "another", "last": "2000"})
        tip = await store.tip()
        page = await store.read(Selection(), Cursor(2, 2), 10)
        assert page.gap is None
        page = await store.read(Selection(), Cursor(1, 1), 10)
        assert page.gap is not None
        assert page.gap.available == Cursor(tip.epoch, 0)
