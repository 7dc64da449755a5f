"""A webhook is woken, says what it has done, and is woken again; and what happens when it does not."""

from __future__ import annotations

import asyncio
import re

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.doors.durable_streams.subscriptions.desk import Desk, Receiver, receiving, until, until_so

from tailrace.doors.durable_streams.subscriptions.keys import _bytes
from tailrace.log.store import Entry

pytestmark = pytest.mark.anyio

DONE = (200, b'{"done":true}')


async def test_an_append_wakes_the_webhook_with_a_signed_notification(desk: Desk, receiver: Receiver) -> None:
    created = await desk.webhook("s", receiver.url, description="test")
    tail = await desk.append("events/a", 1, 2)
    got = await receiver.next(1)
    assert got.headers["content-type"] == "application/json"
    assert got.body["subscription_id"] == "s"
    assert got.body["generation"] == 1
    assert got.body["callback_url"] == "http://desk.test/v1/stream/__ds/subscriptions/s/callback"
    assert re.fullmatch(r"w_[0-9a-f]{24}", got.body["wake_id"])
    [stream] = got.body["streams"]
    assert stream == {
        "path": "events/a",
        "link_type": "glob",
        "acked_offset": "-1",
        "tail_offset": f"{desk.log.tail.epoch:016d}_{tail:016d}",
        "has_pending": True,
    }
    assert created["webhook"]["signing"]["jwks_url"] == "http://desk.test/v1/stream/__ds/jwks.json"
    [key] = (await desk.ask("GET", "jwks.json"))["keys"]
    assert created["webhook"]["signing"]["kid"] == key["kid"]
    seconds, kid, signature = re.fullmatch(
        r"t=(\d+),kid=(.+),ed25519=([A-Za-z0-9_-]+)", got.headers["webhook-signature"]
    ).groups()
    assert kid == key["kid"]
    public = Ed25519PublicKey.from_public_bytes(_bytes(key["x"]))
    public.verify(_bytes(signature), seconds.encode() + b"." + got.raw)
    with pytest.raises(InvalidSignature):
        public.verify(_bytes(signature), seconds.encode() + b"." + got.raw + b" ")


async def test_what_a_webhook_says_is_done_is_acknowledged(desk: Desk) -> None:
    async with receiving(DONE) as receiver:
        await desk.webhook("s", receiver.url)
        await desk.append("events/a", 1)
        got = await receiver.next(1)

        async def acked() -> bool:
            return await desk.acked("s") == got.tails

        await until_so(acked)
        record = await desk.records.get("s")
        assert record.state.links == {}, "when nothing is pending, nothing is kept of single streams"


async def test_what_arrives_while_a_webhook_works_is_told_in_the_next_wake(desk: Desk) -> None:
    async with receiving(DONE) as receiver:
        receiver.hold = asyncio.Event()
        await desk.webhook("s", receiver.url)
        await desk.append("events/a", 1)
        first = await receiver.next(1)
        await desk.append("events/a", 2)
        await desk.append("events/b", 1)
        assert len(receiver.got) == 1
        receiver.hold.set()
        second = await receiver.next(2)
        assert second.body["generation"] == 2
        assert second.body["wake_id"] != first.body["wake_id"]
        by_path = {stream["path"]: stream for stream in second.body["streams"]}
        assert by_path["events/a"]["acked_offset"] == first.tails["events/a"]
        assert by_path["events/b"]["acked_offset"] == "-1"


async def test_a_callback_acknowledges_and_its_repetition_is_fenced(desk: Desk, receiver: Receiver) -> None:
    await desk.webhook("s", receiver.url)
    await desk.append("events/a", 1)
    got = await receiver.next(1)
    token = got.body["callback_token"]
    answer = await desk.ask("POST", "subscriptions/s/callback", got.report(), key=token)
    assert answer == {"ok": True, "next_wake": False}
    assert await desk.acked("s") == got.tails
    assert await desk.refused("POST", "subscriptions/s/callback", got.report(), key=token, status=409) == "FENCED"


async def test_a_callback_that_leaves_something_is_followed_by_another_wake(desk: Desk, receiver: Receiver) -> None:
    await desk.webhook("s", receiver.url)
    await desk.append("events/a", 1)
    got = await receiver.next(1)
    report = got.report(acks=False)
    answer = await desk.ask("POST", "subscriptions/s/callback", report, key=got.body["callback_token"])
    assert answer == {"ok": True, "next_wake": True}
    again = await receiver.next(2)
    assert again.body["generation"] == 2
    assert again.body["streams"] == got.body["streams"]


async def test_a_wake_that_nobody_speaks_of_is_over_when_its_lease_is(desk: Desk, receiver: Receiver) -> None:
    await desk.webhook("s", receiver.url, lease=5000)
    await desk.append("events/a", 1)
    first = await receiver.next(1)
    await held(desk, "s")
    desk.advance(4.9)
    await desk.append("events/a", 2)
    assert (await desk.records.get("s")).state.generation == 1
    desk.advance(0.1)
    second = await receiver.next(2)
    assert second.body["generation"] == 2
    stale = await desk.refused(
        "POST", "subscriptions/s/callback", first.report(), key=first.body["callback_token"], status=409
    )
    assert stale == "FENCED"


async def test_a_lease_that_is_over_is_worth_nothing_although_nobody_has_noticed(
    desk: Desk, receiver: Receiver
) -> None:
    await desk.webhook("s", receiver.url, lease=5000)
    await desk.append("events/a", 1)
    got = await receiver.next(1)
    await held(desk, "s")
    await desk.subscriptions.dispatcher.aclose()
    desk.clock.advance(5)
    report = got.report()
    key = got.body["callback_token"]
    assert await desk.refused("POST", "subscriptions/s/callback", report, key=key, status=409) == "FENCED"


async def test_callbacks_that_are_not_done_keep_the_lease(desk: Desk, receiver: Receiver) -> None:
    await desk.webhook("s", receiver.url, lease=5000)
    await desk.append("events/a", 1)
    got = await receiver.next(1)
    await held(desk, "s")
    for _ in range(3):
        desk.advance(4)
        report = got.report(done=False)
        answer = await desk.ask("POST", "subscriptions/s/callback", report, key=got.body["callback_token"])
        assert answer == {"ok": True, "next_wake": False}
    assert await desk.acked("s") == got.tails
    assert len(receiver.got) == 1


async def test_a_failed_delivery_is_tried_again_later_and_later(desk: Desk) -> None:
    async with receiving((500, b""), (302, b""), (200, b"{}")) as receiver:
        await desk.webhook("s", receiver.url, lease=5000)
        await desk.append("events/a", 1)
        first = await receiver.next(1)
        await failed(desk, "s", 1)
        assert (await desk.show("s"))["status"] == "failed"
        assert 800 <= (await wait_of(desk, "s")) <= 1200
        desk.advance(0.799)
        await desk.append("events/a", 2)
        assert len(receiver.got) == 1
        desk.advance(0.401)
        second = await receiver.next(2)
        assert (second.body["wake_id"], second.body["generation"]) == (first.body["wake_id"], 1)
        assert second.tails["events/a"] > first.tails["events/a"]
        await failed(desk, "s", 2)
        assert 1600 <= (await wait_of(desk, "s")) <= 2400
        desk.advance(2.4)
        third = await receiver.next(3)
        await held(desk, "s")
        assert (await desk.show("s"))["status"] == "active"
        await desk.ask("POST", "subscriptions/s/callback", third.report(), key=first.body["callback_token"])


async def test_a_webhook_that_is_not_there_is_tried_again(desk: Desk) -> None:
    async with receiving() as gone:
        pass
    await desk.webhook("s", gone.url)
    await desk.append("events/a", 1)
    await failed(desk, "s", 1)
    for failures in range(2, 9):
        desk.advance(75)
        await failed(desk, "s", failures)
    assert 48_000 <= (await wait_of(desk, "s")) <= 72_000


async def test_a_webhook_that_does_not_answer_in_its_time_has_failed(desk: Desk, receiver: Receiver) -> None:
    receiver.hold = asyncio.Event()
    await desk.webhook("s", receiver.url, lease=1000)
    await desk.append("events/a", 1)
    await receiver.next(1)
    await failed(desk, "s", 1)
    assert (await desk.show("s"))["status"] == "failed"


async def test_an_answer_that_is_too_long_counts_as_one_without_a_body(desk: Desk) -> None:
    async with receiving((200, b'{"done":true' + b" " * 70_000 + b"}")) as receiver:
        await desk.webhook("s", receiver.url)
        await desk.append("events/a", 1)
        await receiver.next(1)
        await held(desk, "s")
        assert (await desk.acked("s")) == {"events/a": "-1"}


async def test_many_appends_at_once_are_one_wake(desk: Desk, receiver: Receiver) -> None:
    await desk.webhook("s", receiver.url)
    await asyncio.gather(*[desk.append(f"events/{number % 5}", number) for number in range(200)])
    await receiver.next(1)
    await held(desk, "s")
    assert len(receiver.got) == 1
    assert (await desk.records.get("s")).state.generation == 1


async def test_what_was_there_before_the_subscription_does_not_wake_it(desk: Desk, receiver: Receiver) -> None:
    tail = await desk.append("events/old", 1)
    await desk.append("other", 1)
    await desk.webhook("s", receiver.url)
    assert await desk.acked("s") == {"events/old": f"{desk.log.tail.epoch:016d}_{tail:016d}"}
    await desk.append("other", 2)
    await desk.append("events/new", 1)
    got = await receiver.next(1)
    pending = {stream["path"]: stream["has_pending"] for stream in got.body["streams"]}
    assert pending == {"events/new": True, "events/old": False}


async def test_a_deleted_subscription_is_woken_no_more_and_its_callbacks_fail(desk: Desk, receiver: Receiver) -> None:
    await desk.webhook("s", receiver.url)
    await desk.append("events/a", 1)
    got = await receiver.next(1)
    await desk.ask("DELETE", "subscriptions/s", status=204)
    key = got.body["callback_token"]
    code = await desk.refused("POST", "subscriptions/s/callback", got.report(), key=key, status=404)
    assert code == "SUBSCRIPTION_NOT_FOUND"
    await desk.webhook("other", receiver.url)
    await desk.append("events/a", 2)
    assert (await receiver.next(2)).body["subscription_id"] == "other"
    assert desk.subscriptions.dispatcher.count == 1


async def test_the_token_of_an_earlier_subscription_of_the_name_is_fenced(desk: Desk, receiver: Receiver) -> None:
    await desk.webhook("s", receiver.url)
    await desk.append("events/a", 1)
    earlier = await receiver.next(1)
    await desk.ask("DELETE", "subscriptions/s", status=204)
    await desk.webhook("s", receiver.url)
    await desk.append("events/a", 2)
    now = await receiver.next(2)
    assert now.body["generation"] == earlier.body["generation"]
    key = earlier.body["callback_token"]
    assert await desk.refused("POST", "subscriptions/s/callback", now.report(), key=key, status=409) == "FENCED"


async def test_a_stream_that_was_deleted_and_made_anew_wakes_again(desk: Desk) -> None:
    async with receiving(DONE) as receiver:
        await desk.webhook("s", receiver.url)
        await desk.append("events/a", 1)
        await receiver.next(1)
        await idle(desk, "s")
        await desk.log.publish(Entry(topic="events/a", delete=True))
        assert await desk.acked("s") == {}
        await desk.append("events/a", 1)
        assert (await receiver.next(2)).tails.keys() == {"events/a"}


async def test_no_more_webhooks_than_allowed_are_called_at_once(desk: Desk, receiver: Receiver) -> None:
    dispatcher = desk.subscriptions.dispatcher
    dispatcher._deliveries_max = 2
    receiver.hold = asyncio.Event()
    for number in range(5):
        await desk.webhook(f"s{number}", receiver.url, lease=30_000)
    await desk.append("events/a", 1)
    await receiver.next(2)
    await desk.pull("p")
    await desk.append("wake/pool")
    await desk.append("events/a", 2)
    await until_so(lambda: generation_of(desk, "p"))  # it needs nobody to be called
    assert len(dispatcher._deliveries) == 2
    receiver.hold.set()
    await receiver.next(5)
    await until(lambda: not dispatcher._deliveries)
    assert {got.body["subscription_id"] for got in receiver.got} == {f"s{number}" for number in range(5)}


async def test_a_stop_cuts_off_a_delivery_and_the_next_start_tries_again(desk: Desk, receiver: Receiver) -> None:
    receiver.hold = asyncio.Event()
    await desk.webhook("s", receiver.url, lease=5000)
    await desk.append("events/a", 1)
    await receiver.next(1)
    await desk.subscriptions.aclose()
    receiver.hold.set()
    desk.subscriptions.start()
    desk.advance(60)
    second = await receiver.next(2)
    assert second.body["generation"] == 2


async def generation_of(desk: Desk, name: str) -> int:
    return (await desk.records.get(name)).state.generation


async def wait_of(desk: Desk, name: str) -> int:
    """Milliseconds until the next attempt."""
    at = (await desk.records.get(name)).state.next_attempt_at
    assert at is not None
    return at - desk.clock()


async def failed(desk: Desk, name: str, failures: int) -> None:
    """Wait until so many deliveries have failed."""

    async def so() -> bool:
        state = (await desk.records.get(name)).state
        return state.failures == failures and state.next_attempt_at is not None

    await until_so(so)


async def held(desk: Desk, name: str) -> None:
    """Wait until its wake was taken."""

    async def so() -> bool:
        state = (await desk.records.get(name)).state
        return state.wake is not None and state.wake.until == desk.clock() + state.terms.lease_ms

    await until_so(so)


async def idle(desk: Desk, name: str) -> None:
    async def so() -> bool:
        return (await desk.records.get(name)).state.is_idle

    await until_so(so)
