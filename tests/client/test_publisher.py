"""The asyncio publisher, against a server that answers as told, and against a real one."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Iterator

import pytest
from tests.client.publishing import Asked, Said, always, answering, history, numbers_of, refusal, turns

from tailrace.client import Closed, GaveUp, Misused, NotUnderstood, Publisher, PublishLimits, Receipt, Rejected
from tailrace.client import lanes as lanes_module
from tailrace.core.event import Draft
from tailrace.errors import InvalidEvent, InvalidParameter, InvalidTopic, WrongLoop
from tailrace.server.config import AccessSettings, ApiKey, Settings
from tailrace.server.run import Running
from tailrace.testing.server import running_server

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running_server() as running:
        yield running


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.client.lane.RETRY_MILLISECONDS", 5)


class Gate:
    """Holds back the answers to a topic until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, _: Asked) -> Said:
        self.reached.release()
        assert self.open.wait(30)
        return Said()

    async def wait_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.acquire, True, 30)


# ---- what arrives -----------------------------------------------------------------------------------------


async def test_what_is_published_is_there(server: Running) -> None:
    async with Publisher(server.url) as publisher:
        receipt = await publisher.publish("a/b c", {"total": 99}, type="order.created", key="42", tags=("eu",))
        assert receipt.first == receipt.last
        assert (receipt.count, receipt.duplicate, receipt.durability) == (1, False, "memory")
    assert history(server.url, "a/b c") == [{"total": 99}]


async def test_many_are_published_in_order_in_one_request_each_with_its_cursor(server: Running) -> None:
    async with Publisher(server.url) as publisher:
        receipts = await publisher.publish_many("many", [{"n": n} for n in range(5)], type="x")
        assert publisher.statistics()[:4] == (5, 1, 0, 0)
    assert history(server.url, "many") == [{"n": n} for n in range(5)]
    assert len({receipt.first for receipt in receipts}) == 5
    assert all(receipt.first == receipt.last and receipt.count == 1 for receipt in receipts)


async def test_nothing_to_publish_is_no_request(server: Running) -> None:
    async with Publisher(server.url) as publisher:
        assert await publisher.publish_many("none", []) == []
        assert publisher.statistics().requests == 0


async def test_drafts_among_many_bring_their_own_attributes() -> None:
    with answering(always) as answers:
        async with Publisher(answers.url) as publisher:
            await publisher.publish_many("t", [1, Draft(topic="t", data=b"2", type="own")], type="given")
    lines = [json.loads(line) for line in answers.asked[0].body.split(b"\n")]
    assert lines == [{"type": "given", "data": 1}, {"type": "own", "data": 2}]


async def test_concurrent_publishes_share_requests() -> None:
    with answering(always) as answers:
        async with Publisher(answers.url) as publisher:
            receipts = await asyncio.gather(*[publisher.publish("t", n) for n in range(64)])
    assert sorted(int(str(receipt.first).partition("-")[2]) for receipt in receipts) == list(range(1, 65))
    assert len(answers.asked) == 1


async def test_topics_do_not_wait_for_each_other() -> None:
    gate = Gate()
    with answering(lambda asked: gate(asked) if "/slow/" in asked.path else Said()) as answers:
        async with Publisher(answers.url) as publisher:
            slow = asyncio.create_task(publisher.publish("slow", 1))
            await gate.wait_reached()
            await publisher.publish("quick", 1)
            assert not slow.done()
            gate.open.set()
            await slow


async def test_an_idempotency_key_makes_a_publish_safe_from_another_publisher(server: Running) -> None:
    receipts = []
    for _ in range(2):
        async with Publisher(server.url) as publisher:
            receipts.append(await publisher.publish("keyed", 1, idempotency_key="order 42"))
    assert [receipt.duplicate for receipt in receipts] == [False, True]
    assert history(server.url, "keyed") == [1]


@pytest.mark.parametrize("key", ["", "ä", "a\nb", " a", "x" * 257])
async def test_a_key_that_no_header_can_carry_is_refused(server: Running, key: str) -> None:
    async with Publisher(server.url) as publisher:
        with pytest.raises(InvalidParameter, match="visible ASCII"):
            await publisher.publish("t", 1, idempotency_key=key)


async def test_what_is_no_event_is_told_before_anything_is_sent() -> None:
    with answering(always) as answers:
        async with Publisher(answers.url) as publisher:
            with pytest.raises(InvalidTopic):
                await publisher.publish("a//b", 1)
            with pytest.raises(InvalidEvent):
                await publisher.publish_many("t", [1, object()])
    assert answers.asked == []


async def test_an_address_with_a_path_is_the_apis() -> None:
    with answering(always) as answers:
        async with Publisher(f"{answers.url}/events/api/") as publisher:
            await publisher.publish("t", 1)
    assert answers.asked[0].path == "/events/api/topics/t/events"


# ---- what goes wrong --------------------------------------------------------------------------------------


async def test_every_attempt_is_the_same_request_and_the_next_has_the_next_number() -> None:
    busy = Said(503, b"", {"retry-after": "0"})
    with answering(turns(busy, Said(0), Said())) as answers:
        async with Publisher(answers.url) as publisher:
            await publisher.publish("t", 1)
            await publisher.publish("t", 2)
            statistics = publisher.statistics()
    numbers = numbers_of(answers.asked)
    assert [one[1:] for one in numbers] == [("0", "0")] * 3 + [("0", "1")]
    assert len({one[0] for one in numbers}) == 1
    assert len({one.body for one in answers.asked[:3]}) == 1
    assert (statistics.requests, statistics.retries) == (4, 2)


async def test_only_the_culprit_of_a_batch_fails() -> None:
    with running_server(Settings(port=0, store="memory://")) as running:
        async with Publisher(running.url, limits=PublishLimits(batch_bytes=64 * 1024 * 1024)) as publisher:
            large = "x" * (17 * 1024 * 1024)
            publishing = [publisher.publish("culprit", data) for data in (1, 2, large, 3)]
            outcomes = await asyncio.gather(*publishing, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Receipt, Receipt, Rejected, Receipt]
        assert history(running.url, "culprit") == [1, 2, 3]
    refused = outcomes[2]
    assert isinstance(refused, Rejected)
    assert (refused.extra["status"], refused.extra["code"]) == (413, "too_large")


async def test_many_with_a_culprit_say_which_and_what_became_of_the_others() -> None:
    def picky(asked: Asked) -> Said:
        return refusal(422, "schema") if b'"bad"' in asked.body else Said()

    with answering(picky) as answers:
        async with Publisher(answers.url) as publisher:
            with pytest.raises(Rejected, match=r"Event 2 of 3: No: schema\. \(2 of them are published\.\)") as refused:
                await publisher.publish_many("t", [{"a": 1}, {"a": "bad"}, {"a": 3}])
    assert refused.value.extra["index"] == 1
    receipts = refused.value.extra["receipts"]
    assert isinstance(receipts, list)
    assert [receipt is None for receipt in receipts] == [False, True, False]


async def test_a_server_whose_memory_was_lost_goes_on_with_the_next_event() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    settings = Settings(port=port, store="memory://")
    with running_server(settings) as running:
        publisher = Publisher(running.url)
        for number in range(3):
            await publisher.publish("t", number)
    with running_server(settings) as running:
        await publisher.publish("t", 3)
        await publisher.publish("t", 4)
        await publisher.aclose()
        assert history(running.url, "t") == [3, 4]


async def test_a_publish_whose_server_cannot_be_reached_gives_up_when_told_and_knows_that_nothing_was_stored() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with Publisher(url, max_retries=1) as publisher:
        with pytest.raises(GaveUp, match="Tried 2 times") as given_up:
            await publisher.publish("t", 1)
    assert given_up.value.extra["in_doubt"] is False


async def test_a_publish_that_was_cut_gives_up_in_doubt() -> None:
    with answering(lambda _: Said(0)) as answers:
        async with Publisher(answers.url, max_retries=0) as publisher:
            with pytest.raises(GaveUp, match="It is not known whether it was stored") as given_up:
                await publisher.publish("t", 1)
    assert given_up.value.extra["in_doubt"] is True


async def test_an_answer_that_takes_too_long_is_asked_for_again() -> None:
    gate = Gate()

    def slow_at_first(asked: Asked) -> Said:
        return gate(asked) if len(answers.asked) == 1 else Said()

    with answering(slow_at_first) as answers:
        async with Publisher(answers.url, limits=PublishLimits(answer_seconds=0.2)) as publisher:
            await publisher.publish("t", 1)
        gate.open.set()
    assert len(set(numbers_of(answers.asked))) == 1
    assert len(answers.asked) == 2


@pytest.mark.parametrize(
    ("said", "error", "sentence"),
    [
        (Said(200, b"<html>"), NotUnderstood, "answered 200 without a receipt"),
        (Said(301, b"", {"location": "/else"}), Rejected, "301 Moved Permanently"),
        (Said(599, b'{"retry": false}'), Rejected, "The server answered 599"),
        (refusal(500, "store_corrupt", retry=False), Rejected, "No: store_corrupt"),
        (refusal(409, "topic_closed"), Rejected, "No: topic_closed"),
    ],
)
async def test_what_is_final_is_not_tried_again(said: Said, error: type[Exception], sentence: str) -> None:
    with answering(lambda _: said) as answers:
        async with Publisher(answers.url) as publisher:
            with pytest.raises(error, match=sentence):
                await publisher.publish("t", 1)
    assert len(answers.asked) == 1


async def test_who_shares_a_refusal_has_an_error_of_its_own() -> None:
    with answering(lambda _: refusal(403, "forbidden")) as answers:
        async with Publisher(answers.url) as publisher:
            errors = await asyncio.gather(*[publisher.publish("t", n) for n in range(2)], return_exceptions=True)
    assert errors[0] is not errors[1]


# ---- tokens -----------------------------------------------------------------------------------------------


async def test_a_token_is_shown() -> None:
    keys = (ApiKey("web", "0123456789abcdef", publish=("a",)),)
    with running_server(Settings(port=0, store="memory://", access=AccessSettings(keys))) as running:
        async with Publisher(running.url, token="0123456789abcdef") as publisher:
            await publisher.publish("a", 1)
            with pytest.raises(Rejected, match="web may not publish 'b'"):
                await publisher.publish("b", 1)


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_callable_is_asked_for_a_token_before_every_attempt_and_again_after_a_401(*, is_async: bool) -> None:
    tokens = iter(["one", "two", "three"])

    async def later() -> str:
        await asyncio.sleep(0)
        return next(tokens)

    with answering(turns(refusal(401, "unauthorized"), Said(), Said())) as answers:
        async with Publisher(answers.url, token=later if is_async else lambda: next(tokens)) as publisher:
            await publisher.publish("t", 1)
            await publisher.publish("t", 2)
    assert [one.headers["authorization"] for one in answers.asked] == ["Bearer one", "Bearer two", "Bearer three"]


async def test_a_token_that_stays_wrong_is_refused() -> None:
    with answering(lambda _: refusal(401, "unauthorized")) as answers:
        async with Publisher(answers.url, token=lambda: "wrong") as publisher:
            with pytest.raises(Rejected, match="No: unauthorized"):
                await publisher.publish("t", 1)
    assert len(answers.asked) == 2


async def test_a_callable_that_raises_is_named_and_is_the_cause() -> None:
    def broken() -> str:
        raise KeyError("secret")

    async with Publisher("http://127.0.0.1:9", token=broken) as publisher:
        with pytest.raises(Misused, match="The token's callable raised KeyError") as misused:
            await publisher.publish("t", 1)
    assert isinstance(misused.value.__cause__, KeyError)


async def test_a_callable_that_gives_no_token_is_told_so() -> None:
    async with Publisher("http://127.0.0.1:9", token=lambda: "two words") as publisher:
        with pytest.raises(InvalidParameter, match="give the key alone"):
            await publisher.publish("t", 1)


# ---- bounds -----------------------------------------------------------------------------------------------


async def test_beyond_the_waiting_bytes_publish_waits_and_does_not_fail() -> None:
    gate = Gate()
    with answering(gate) as answers:
        async with Publisher(answers.url, limits=PublishLimits(waiting_bytes=1000)) as publisher:
            publishing = [asyncio.create_task(publisher.publish("t", n)) for n in range(20)]
            await gate.wait_reached()
            assert publisher.statistics().waiting_bytes <= 1000
            assert publisher.statistics().waiting_events == 3
            gate.open.set()
            await asyncio.gather(*publishing)
            assert publisher.statistics()[4:6] == (0, 0)


@pytest.mark.parametrize("waiting_bytes", [10_000, 1], ids=["in its lane", "at the entrance"])
async def test_what_is_cancelled_before_it_was_sent_is_never_sent_and_takes_no_room(waiting_bytes: int) -> None:
    gate = Gate()
    with answering(gate) as answers:
        async with Publisher(answers.url, limits=PublishLimits(waiting_bytes=waiting_bytes)) as publisher:
            first = asyncio.create_task(publisher.publish("t", 1))
            await gate.wait_reached()
            under_way = publisher.statistics().waiting_bytes
            doomed = asyncio.create_task(publisher.publish_many("t", [2, 3]))
            await asyncio.sleep(0)
            doomed.cancel()
            await asyncio.gather(doomed, return_exceptions=True)
            assert publisher.statistics().waiting_bytes == under_way
            gate.open.set()
            await first
            await publisher.publish("t", 4)
    assert [asked.body for asked in answers.asked] == [b"1", b"4"]


async def test_an_event_larger_than_all_room_waits_until_it_is_alone(server: Running) -> None:
    async with Publisher(server.url, limits=PublishLimits(waiting_bytes=10)) as publisher:
        await asyncio.gather(*[publisher.publish("large", "x" * 100) for _ in range(3)])
    assert history(server.url, "large") == ["x" * 100] * 3


async def test_idle_lanes_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "IDLE_LANES", 3)
    with answering(always) as answers:
        async with Publisher(answers.url) as publisher:
            for number in range(10):
                await publisher.publish(f"t/{number % 5}", number)
            assert publisher.statistics().lanes == 3


async def test_a_topic_whose_lane_was_forgotten_goes_on_under_the_same_producer_in_a_later_epoch(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes_module, "IDLE_LANES", 1)
    with answering(always) as answers:
        async with Publisher(answers.url) as publisher:
            for topic in ("a", "b", "a"):
                await publisher.publish(topic, 1)
    numbers = numbers_of(answers.asked)
    assert len({producer for producer, _, _ in numbers}) == 1
    assert [(int(epoch), int(sequence)) for _, epoch, sequence in numbers] == [(0, 0), (1, 0), (2, 0)]
    async with Publisher(server.url) as publisher:
        for number, topic in enumerate(["forgotten/a", "forgotten/b", "forgotten/a"]):
            await publisher.publish(topic, number)
    assert history(server.url, "forgotten/a") == [0, 2]


@pytest.mark.parametrize("name", ["batch_events", "waiting_bytes", "connections", "answer_seconds"])
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(InvalidParameter, match=f"{name} is 0, and must be more than nothing"):
        PublishLimits(**{name: 0})


async def test_a_lane_has_no_task_when_it_is_idle(server: Running) -> None:
    async with Publisher(server.url) as publisher:
        before = asyncio.all_tasks()
        await asyncio.gather(*[publisher.publish(f"tasks/{n}", n) for n in range(10)])
        for _ in range(3):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


# ---- the end ----------------------------------------------------------------------------------------------


async def test_closing_sends_what_is_waiting(server: Running) -> None:
    publisher = Publisher(server.url)
    publishing = [asyncio.create_task(publisher.publish("closing", n)) for n in range(5)]
    await asyncio.sleep(0)
    await publisher.aclose()
    await asyncio.gather(*publishing)
    assert history(server.url, "closing") == list(range(5))


async def test_closing_waits_no_longer_than_it_was_told() -> None:
    gate = Gate()
    with answering(gate) as answers:
        publisher = Publisher(answers.url, limits=PublishLimits(drain_seconds=0.05, batch_events=1))
        publishing = [asyncio.create_task(publisher.publish("t", n)) for n in range(2)]
        await gate.wait_reached()
        await publisher.aclose()
        outcomes = await asyncio.gather(*publishing, return_exceptions=True)
        gate.open.set()
    assert [type(outcome) for outcome in outcomes] == [GaveUp, GaveUp]
    assert [outcome.extra["in_doubt"] for outcome in outcomes if isinstance(outcome, GaveUp)] == [True, False]


async def test_what_waits_at_the_entrance_when_all_is_closed_is_turned_away() -> None:
    gate = Gate()
    with answering(gate) as answers:
        limits = PublishLimits(drain_seconds=0.05, waiting_bytes=1)
        publisher = Publisher(answers.url, limits=limits)
        publishing = [asyncio.create_task(publisher.publish("t", n)) for n in range(2)]
        await gate.wait_reached()
        await publisher.aclose()
        outcomes = await asyncio.gather(*publishing, return_exceptions=True)
        gate.open.set()
    assert [type(outcome) for outcome in outcomes] == [GaveUp, GaveUp]


async def test_after_closing_nothing_is_published_and_closing_again_is_no_error(server: Running) -> None:
    publisher = Publisher(server.url)
    await publisher.aclose()
    await publisher.aclose()
    with pytest.raises(Closed, match="open another one"):
        await publisher.publish("t", 1)


def test_another_event_loop_is_told_whose_publisher_it_is(server: Running) -> None:
    publisher = Publisher(server.url)
    with asyncio.Runner() as runner, asyncio.Runner() as other:
        runner.run(publisher.publish("loops", 1))
        with pytest.raises(WrongLoop, match="belongs to the event loop"):
            other.run(publisher.publish("loops", 2))
        with pytest.raises(WrongLoop, match="belongs to the event loop"):
            other.run(publisher.aclose())
        runner.run(publisher.aclose())


async def test_a_fork_is_told_to_make_its_own(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = Publisher(server.url)
    pid = os.getpid()
    with monkeypatch.context() as forked:
        forked.setattr(os, "getpid", lambda: pid + 1)
        with pytest.raises(Misused, match="make one in each process"):
            await publisher.publish("t", 1)
    await publisher.aclose()


async def test_a_fault_of_the_http_client_reaches_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("inside out")

    async with Publisher("http://127.0.0.1:9") as publisher:
        monkeypatch.setattr(publisher._http, "post", broken)
        with pytest.raises(Misused, match="The HTTP client raised RuntimeError: inside out"):
            await publisher.publish("t", 1)
