"""Many nodes on one log in Redis: what one does, the others see, and no rule is broken between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis as Client
from tests.engines.redis_server import Redis
from tests.stores.redis_logs import administrator, new_log, one, opened

from tailrace.core.condition import Condition
from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import ConditionFailed, TopicClosed, TopicExists, TopicNotFound, Unavailable
from tailrace.log.log import Log
from tailrace.log.store import Appended, Entry, Fork, Hint, Receipt, Store
from tailrace.stores.from_url import open_log
from tailrace.stores.redis.connection import Unanswered
from tailrace.stores.redis.store import RedisStore
from tailrace.testing.store_contract import Clock

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 20.0
"""How long something may take that does happen."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def everything(store: Store) -> list[tuple[int, str, bytes]]:
    after, found = Cursor((await store.tip()).epoch, 0), []
    while True:
        page = await store.read(Selection(), after, 500)
        found += [(event.position, event.topic, event.data) for event in page.events]
        if page.exhausted:
            return found
        after = page.last


# ---- one history ------------------------------------------------------------------------------------------


async def test_two_nodes_write_one_history_and_each_knows_where_its_events_stand(redis: Redis) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as nodes:

        async def write(number: int) -> list[Appended]:
            node = nodes[number]
            return [
                await node.append([one("shared", b"%d-%d-%d" % (number, batch, entry)) for entry in range(5)])
                for batch in range(40)
            ]

        told = [appended for batches in await asyncio.gather(write(0), write(1)) for appended in batches]
        events = [event for appended in told for event in appended.events]
        expected = sorted((event.position, event.topic, event.data) for event in events)
        assert len({position for position, _, _ in expected}) == 400
        for node in nodes:
            assert await everything(node) == expected
        for appended in told:
            firsts = [result.first for result in appended.results if isinstance(result, Receipt)]
            assert firsts == [event.position for event in appended.events]
            assert [result.tail for result in appended.results if isinstance(result, Receipt)] == firsts
        ranges = sorted((appended.previous, appended.last) for appended in told)
        assert [end for _, end in ranges[:-1]] == [start for start, _ in ranges[1:]]


async def test_of_two_nodes_with_one_condition_one_is_refused(redis: Redis) -> None:
    selections = [Selection(["seat/1"]), Selection(["seat/*"]), Selection(), Selection(tags=["seat"])]
    async with opened(new_log(redis), Clock(), Clock()) as nodes:
        for selection in selections:
            condition = Condition(selection, await nodes[0].tip())
            drafts = (Draft(topic="seat/1", data=b"{}", tags=("seat",)),)
            taken = [node.append([Entry(topic="seat/1", drafts=drafts, condition=condition)]) for node in nodes]
            results = [appended.results[0] for appended in await asyncio.gather(*taken)]
            refused = [result for result in results if isinstance(result, ConditionFailed)]
            assert len(refused) == 1, selection
            [accepted] = [result for result in results if isinstance(result, Receipt)]
            assert refused[0].extra["position"] == accepted.first


async def test_a_condition_may_name_what_only_another_node_has_seen(redis: Redis) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as (here, there):
        await here.append([one("other")])
        appended = await there.append([one()])
        condition = Condition(Selection(["a"]), Cursor(appended.epoch, appended.last))
        [result] = (await here.append([one(condition=condition)])).results
        assert isinstance(result, Receipt), result


async def test_a_cursor_that_comes_to_be_while_it_is_judged_is_judged_again(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as (here, there):
        tip = (await here.append([one("a"), one("own")])).last
        before_applying(here, monkeypatch, lambda: there.append([one("other", b"%d" % number) for number in range(3)]))
        condition = Condition(Selection(["a"]), Cursor((await here.tip()).epoch, tip + 2))
        [result] = (await here.append([one("a", b"late", condition=condition)])).results
        assert isinstance(result, Receipt), result
        assert (result.first, "a", b"late") in await everything(there)


async def test_a_condition_on_what_its_own_batch_writes_holds_wherever_that_stands(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as (here, there):
        tip = (await here.append([one("a")])).last
        before_applying(here, monkeypatch, lambda: there.append([one("other")]))
        condition = Condition(Selection(["a"]), Cursor((await here.tip()).epoch, tip + 1))
        first, second = (await here.append([one("a", b"1"), one("a", b"2", condition=condition)])).results
        assert isinstance(first, Receipt)
        assert isinstance(second, ConditionFailed)  # by then that position is another's
        assert second.extra["position"] == first.first
        assert [data for _, topic, data in await everything(there) if topic == "a"] == [b"{}", b"1"]


def before_applying(store: RedisStore, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[object]]) -> None:
    """Act once between what a store looks up for its next batch and the step that writes it."""
    connection = store._connection
    run = connection.run

    async def acting(name: str, *arguments: object) -> list[object]:
        if name == "apply":
            monkeypatch.setattr(connection, "run", run)
            await act()
        return await run(name, *arguments)

    monkeypatch.setattr(connection, "run", acting)


async def test_a_producer_goes_on_at_another_node(redis: Redis) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as nodes:
        for sequence in range(6):
            entry = one(producer=Producer("p", 0, sequence))
            [first] = (await nodes[sequence % 2].append([entry])).results
            [again] = (await nodes[1 - sequence % 2].append([entry])).results
            assert isinstance(first, Receipt)
            assert isinstance(again, Receipt)
            assert (first.duplicate, again.duplicate) == (False, True)
            assert again.first == first.first


async def test_a_key_and_an_id_are_known_to_the_other_node(redis: Redis) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as (here, there):
        named = Entry(topic="a", drafts=(Draft(topic="a", data=b"", id="1"),))
        first = (await here.append([one(idempotency_key="k"), named])).results
        again = (await there.append([one(idempotency_key="k"), named])).results
        assert [result.first for result in again] == [result.first for result in first]
        assert all(result.duplicate for result in again)


async def test_what_one_node_closes_or_deletes_is_so_for_the_other_that_knew_it_open(redis: Redis) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as (here, there):
        await there.append([one("a"), one("b")])
        await here.append([one("c"), Entry(topic="a", close=True), Entry(topic="b", delete=True)])
        strict = one("b", create_missing=False)
        closed, missing = (await there.append([one("a"), strict])).results
        assert isinstance(closed, TopicClosed)
        assert isinstance(missing, TopicNotFound)
        assert closed.extra["last"] == (await here.describe("a")).last


async def test_of_two_nodes_that_make_one_topic_one_is_first(redis: Redis) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as nodes:
        entry = Entry(topic="a", create=TopicConfig(), create_new=True)
        results = [(await answer).results[0] for answer in [node.append([entry]) for node in nodes]]
        assert [type(result) for result in results] == [Receipt, TopicExists]


async def test_forks_are_made_at_one_node_while_the_other_deletes_their_source(redis: Redis) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as (here, there):
        for number in range(10):
            source = f"source/{number}"
            await here.append([one(source)])
            fork = Entry(topic=f"fork/{number}", create=TopicConfig(), forked_from=Fork(source))
            made, _ = await asyncio.gather(there.append([fork]), here.append([Entry(topic=source, delete=True)]))
            exists = isinstance(made.results[0], Receipt)
            page = await here.read(Selection([fork.topic]), Cursor((await here.tip()).epoch, 0), 10)
            assert len(page.events) == (1 if exists else 0)


async def test_recorded_times_rise_though_the_clocks_of_nodes_differ(redis: Redis) -> None:
    ahead, behind = Clock(), Clock()
    ahead.forward(seconds=60)
    async with opened(new_log(redis), ahead, behind) as nodes:
        for number in range(10):
            await nodes[number % 2].append([one()])
        page = await nodes[0].read(Selection(), Cursor((await nodes[0].tip()).epoch, 0), 100)
        times = [event.recorded_at for event in page.events]
        assert times == sorted(times)


async def test_a_sweep_at_one_node_makes_a_condition_of_the_other_unknowable(redis: Redis) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as (here, there):
        appended = await here.append([one(), one()])
        condition = Condition(Selection(["a"], types=["none"]), Cursor(appended.epoch, appended.previous))
        [held] = (await there.append([one("b", condition=condition)])).results
        assert isinstance(held, Receipt)
        await here.append([Entry(topic="a", delete=True)])
        [refused] = (await there.append([one("b", condition=condition)])).results
        assert refused.code == "condition_unknowable"


# ---- exactly once -----------------------------------------------------------------------------------------


def losing(store: RedisStore, monkeypatch: pytest.MonkeyPatch, *, answers: int, requests: int = 0) -> list[str]:
    """Lose so many requests on their way to Redis, then so many answers. What was sent is noted."""
    connection, sent = store._connection, list[str]()
    run = connection.run
    left = {"requests": requests, "answers": answers}

    async def lossy(name: str, *arguments: object) -> list[object]:
        if name != "apply":
            return await run(name, *arguments)
        sent.append(name)
        if left["requests"]:
            left["requests"] -= 1
            raise Unanswered
        answer = await run(name, *arguments)
        if left["answers"]:
            left["answers"] -= 1
            raise Unanswered
        return answer

    monkeypatch.setattr(connection, "run", lossy)
    return sent


@pytest.mark.parametrize(("requests", "answers"), [(0, 1), (1, 0), (1, 2)])
async def test_a_batch_whose_answer_is_lost_is_in_the_log_once(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, requests: int, answers: int
) -> None:
    async with opened(new_log(redis)) as store:
        await store.append([one("a", b"first")])
        sent = losing(store, monkeypatch, requests=requests, answers=answers)
        appended = await store.append([one("a", b"second")])
        assert len(sent) == requests + answers + 1
        assert (await everything(store))[-1] == (appended.last, "a", b"second")
        assert [data for _, _, data in await everything(store)] == [b"first", b"second"]


async def test_a_refusal_whose_answer_is_lost_is_judged_anew(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as (here, there):
        await here.append([one()])
        await there.append([Entry(topic="a", close=True)])
        losing(here, monkeypatch, answers=1)
        [result] = (await here.append([one()])).results
        assert isinstance(result, TopicClosed)


async def test_a_batch_that_nobody_answers_for_is_given_up_in_time(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(new_log(redis, timeout="0.2")) as store:
        losing(store, monkeypatch, answers=1_000)
        with pytest.raises(Unavailable, match=r"."):
            await asyncio.wait_for(store.append([one()]), WAIT_SECONDS)
        monkeypatch.undo()
        await store.append([one("a", b"later")])
        assert [data for _, _, data in await everything(store)] == [b"{}", b"later"]


async def test_scripts_that_redis_has_forgotten_are_sent_again(redis: Redis) -> None:
    async with opened(new_log(redis)) as store, administrator(redis) as client:
        await store.append([one()])
        await client.script_flush()
        await store.append([one()])
        assert len(await everything(store)) == 2


async def test_connections_that_are_cut_lose_nothing(redis: Redis) -> None:
    async with opened(new_log(redis)) as store, administrator(redis) as client:
        for number in range(20):
            await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await store.append([one("a", b"%d" % number)])
        assert [data for _, _, data in await everything(store)] == [b"%d" % number for number in range(20)]


# ---- hints ------------------------------------------------------------------------------------------------


class Listener:
    """Whoever follows the hints of a store."""

    def __init__(self, store: Store) -> None:
        self.heard: asyncio.Queue[Hint] = asyncio.Queue()
        self._task = asyncio.ensure_future(self._listen(store))

    async def _listen(self, store: Store) -> None:
        async for hint in store.hints():
            self.heard.put_nowait(hint)

    async def next(self) -> Hint:
        return await asyncio.wait_for(self.heard.get(), WAIT_SECONDS)

    async def until(self, last: int) -> None:
        while (await self.next()).last < last:
            pass

    async def end(self) -> None:
        await asyncio.wait_for(self._task, WAIT_SECONDS)


async def test_a_small_batch_is_told_whole(redis: Redis) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as (here, there):
        listener = Listener(there)
        own = Listener(here)
        assert (await listener.next()).last == (await own.next()).last == 1
        drafts = (Draft(topic="a", data=b"\0\xff", tags=("x",), id="1"), Draft(topic="b", data=b""))
        appended = await here.append([Entry(topic="a", drafts=drafts), Entry(topic="b", close=True)])
        hint = await listener.next()
        assert hint == Hint(appended.last, appended._replace(results=()))
        await there.append([one()])
        assert (await own.next()).last == appended.last + 1  # and nothing of what was its own


async def test_of_a_large_batch_is_told_that_there_is_one(redis: Redis) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as (here, there):
        listener, own = Listener(there), Listener(here)
        await listener.next()
        await own.next()
        appended = await here.append([one("a", bytes(100_000))])
        assert await listener.next() == Hint(appended.last)


async def test_whoever_could_not_hear_is_told_to_look(redis: Redis) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as (here, there), administrator(redis) as client:
        listener, own = Listener(there), Listener(here)
        await listener.next()
        await own.next()
        await kill_listeners(client)
        appended = await here.append([one()])
        await listener.until(appended.last)


async def kill_listeners(client: Client) -> None:
    await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


async def test_whoever_does_not_listen_himself_is_heard(redis: Redis) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as (here, there):
        listener = Listener(there)
        await listener.next()
        appended = await here.append([one()])
        assert await listener.next() == Hint(appended.last, appended._replace(results=()))


async def test_hints_end_when_the_store_closes(redis: Redis) -> None:
    async with opened(new_log(redis)) as store:
        listener = Listener(store)
        await listener.next()
        await store.aclose()
        await listener.end()


# ---- logs -------------------------------------------------------------------------------------------------


async def test_whoever_follows_at_another_node_sees_every_event_once_in_order(redis: Redis) -> None:
    url = new_log(redis)
    here, there = await open_log(url), await open_log(url)
    async with here, there:
        seen: list[int] = []

        async def follow() -> None:
            async for page in there.follow(Selection(["shared/*"]), there.tail.tip):
                assert page.gap is None
                seen.extend(event.position for event in page.events)
                if len(seen) >= 600:
                    return

        following = asyncio.ensure_future(follow())

        async def write(log: Log, name: str) -> list[int | None]:
            receipts = [
                await log.publish_many([one(f"shared/{name}"), one("shared/both"), one(f"other/{name}")])
                for _ in range(150)
            ]
            assert all(isinstance(receipt, Receipt) for both in receipts for receipt in both)
            return [receipt.first for both in receipts for receipt in both[:2] if isinstance(receipt, Receipt)]

        wrote = await asyncio.gather(write(here, "here"), write(there, "there"))
        await asyncio.wait_for(following, WAIT_SECONDS)
        assert seen == sorted(position for positions in wrote for position in positions if position)


async def test_what_must_be_of_the_moment_is_done_while_another_node_never_rests(redis: Redis) -> None:
    async with opened(new_log(redis), Clock(), Clock()) as (here, there):
        over = asyncio.Event()

        async def hammer() -> None:
            while not over.is_set():
                await here.append([one("busy") for _ in range(64)])

        hammering = asyncio.ensure_future(hammer())
        for number in range(20):
            tip = await there.tip()
            entry = one(f"quiet/{number}", condition=Condition(Selection(["quiet/*", f"never/{number}"]), tip))
            [held] = (await there.append([entry])).results
            assert isinstance(held, Receipt)
            [deleted] = (await there.append([Entry(topic=f"quiet/{number}", delete=True)])).results
            assert isinstance(deleted, Receipt)
        over.set()
        await hammering
