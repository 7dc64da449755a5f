"""Workers read a stream of wakes and race to claim; whoever speaks of an earlier wake is fenced off."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.doors.durable_streams.subscriptions.desk import Desk, report_on, until_so

from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.log.store import Entry

pytestmark = pytest.mark.anyio


async def wakes(desk: Desk, stream: str = "wake/pool") -> list[dict]:
    page = await desk.log.store.read(Selection([stream]), Cursor(desk.log.tail.epoch, 0), 1000)
    return [json.loads(event.data) for event in page.events]


async def woken(desk: Desk, times: int) -> list[dict]:
    async def so() -> bool:
        return len(await wakes(desk)) >= times

    await until_so(so)
    return await wakes(desk)


@pytest.fixture
async def pool(desk: Desk) -> Desk:
    """With a subscription `p` and its wake stream."""
    await desk.append("wake/pool")
    await desk.pull("p")
    return desk


async def test_an_append_writes_one_wake_event(pool: Desk) -> None:
    await asyncio.gather(*[pool.append("events/a", number) for number in range(50)])
    [wake] = await woken(pool, 1)
    assert wake == {
        "type": "wake",
        "subscription_id": "p",
        "stream": "events/a",
        "generation": 1,
        "ts": pool.clock(),
    }


async def test_a_worker_claims_and_acknowledges(pool: Desk) -> None:
    tail = await pool.append("events/a", 1, 2)
    await woken(pool, 1)
    claimed = await pool.claim("p")
    offset = f"{pool.log.tail.epoch:016d}_{tail:016d}"
    assert claimed["generation"] == 1
    assert claimed["lease_ttl_ms"] == 1000
    assert claimed["streams"] == [
        {
            "path": "events/a",
            "link_type": "glob",
            "acked_offset": "-1",
            "tail_offset": offset,
            "has_pending": True,
        }
    ]
    answer = await pool.ask("POST", "subscriptions/p/ack", report_on(claimed), key=claimed["token"])
    assert answer == {"ok": True, "next_wake": False}
    assert await pool.acked("p") == {"events/a": offset}
    assert await pool.refused("POST", "subscriptions/p/claim", {"worker": "w"}, status=409) == "NO_PENDING_WORK"


async def test_what_is_claimed_cannot_be_claimed_by_another(pool: Desk) -> None:
    await pool.append("events/a", 1)
    claimed = await pool.claim("p", "w1")
    answer = await pool.ask("POST", "subscriptions/p/claim", {"worker": "w2"}, status=409)
    assert answer["error"]["code"] == "ALREADY_CLAIMED"
    assert answer["error"]["current_holder"] == "w1"
    assert answer["error"]["generation"] == claimed["generation"]


async def test_of_many_who_claim_at_once_one_gets_it(pool: Desk) -> None:
    await pool.append("events/a", 1)
    answers = await asyncio.gather(
        *[
            pool.http.post("/v1/stream/__ds/subscriptions/p/claim", json={"worker": f"w{number}"})
            for number in range(20)
        ]
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19


async def test_an_ack_that_is_not_done_keeps_the_lease(pool: Desk) -> None:
    await pool.append("events/a", 1)
    claimed = await pool.claim("p")
    for _ in range(3):
        pool.advance(0.9)
        report = report_on(claimed, done=False)
        await pool.ask("POST", "subscriptions/p/ack", report, key=claimed["token"])
    assert (await pool.records.get("p")).state.generation == claimed["generation"]


async def test_a_lease_that_ends_is_followed_by_another_wake_and_fences_its_holder(pool: Desk) -> None:
    await pool.append("events/a", 1)
    await woken(pool, 1)
    claimed = await pool.claim("p")
    pool.advance(1)
    events = await woken(pool, 2)
    assert [event["generation"] for event in events] == [1, 2]
    key = claimed["token"]
    assert await pool.refused("POST", "subscriptions/p/ack", report_on(claimed), key=key, status=409) == "FENCED"
    release = {"wake_id": claimed["wake_id"], "generation": claimed["generation"]}
    assert await pool.refused("POST", "subscriptions/p/release", release, key=key, status=409) == "FENCED"
    assert await pool.acked("p") == {"events/a": "-1"}


async def test_a_lease_that_ends_when_all_is_acknowledged_wakes_nobody(pool: Desk) -> None:
    await pool.append("events/a", 1)
    await woken(pool, 1)
    claimed = await pool.claim("p")
    await pool.ask("POST", "subscriptions/p/ack", report_on(claimed, done=False), key=claimed["token"])
    pool.advance(1)

    async def idle() -> bool:
        return (await pool.records.get("p")).state.is_idle

    await until_so(idle)
    assert len(await wakes(pool)) == 1


async def test_a_claim_need_not_wait_for_the_wake(pool: Desk) -> None:
    await pool.subscriptions.dispatcher.aclose()
    await pool.append("events/a", 1)
    claimed = await pool.claim("p")
    assert claimed["generation"] == 1


async def test_what_is_released_is_offered_again(pool: Desk) -> None:
    await pool.append("events/a", 1)
    await woken(pool, 1)
    claimed = await pool.claim("p")
    release = {"wake_id": claimed["wake_id"], "generation": claimed["generation"]}
    await pool.ask("POST", "subscriptions/p/release", release, key=claimed["token"], status=204)
    assert [wake["generation"] for wake in await woken(pool, 2)] == [1, 2]
    assert (await pool.claim("p", "w2"))["generation"] == 2


@pytest.mark.parametrize(
    ("stream", "offset"),
    [
        ("elsewhere", "tail"),
        ("events/unknown", "tail"),
        ("", "tail"),
        ("events/a", "-1"),
        ("events/a", "now"),
        ("events/a", "abc"),
        ("events/a", "9999999999999999_0000000000000001"),
        ("events/a", "beyond"),
        ("events/a", "0000000000000000_0000000000000000"),
    ],
)
async def test_an_ack_that_cannot_be_true_is_refused_and_nothing_of_it_counts(
    pool: Desk, stream: str, offset: str
) -> None:
    first = await pool.append("events/a", 1)
    await pool.append("events/b", 1)
    epoch = pool.log.tail.epoch
    claimed = await pool.claim("p")
    wake = {"wake_id": claimed["wake_id"], "generation": claimed["generation"]}
    ack = {"stream": "events/a", "offset": f"{epoch:016d}_{first:016d}"}
    await pool.ask("POST", "subscriptions/p/ack", {**wake, "acks": [ack]}, key=claimed["token"])
    before = await pool.acked("p")
    said = {"tail": f"{epoch:016d}_{first:016d}", "beyond": f"{epoch:016d}_{first + 1000:016d}"}.get(offset, offset)
    tails = {stream["path"]: stream["tail_offset"] for stream in claimed["streams"]}
    acks = [{"stream": "events/b", "offset": tails["events/b"]}, {"stream": stream, "offset": said}]
    body = {**wake, "acks": acks, "done": True}
    code = await pool.refused("POST", "subscriptions/p/ack", body, key=claimed["token"], status=409)
    assert code == "INVALID_OFFSET"
    assert await pool.acked("p") == before


async def test_acks_beyond_the_wake_count_up_to_the_tail(pool: Desk) -> None:
    await pool.append("events/a", 1)
    claimed = await pool.claim("p")
    tail = await pool.append("events/a", 2)
    ack = {"stream": "/events/a/", "offset": f"{pool.log.tail.epoch:016d}_{tail:016d}"}
    body = report_on(claimed) | {"acks": [ack]}
    answer = await pool.ask("POST", "subscriptions/p/ack", body, key=claimed["token"])
    assert answer == {"ok": True, "next_wake": False}


async def test_a_stream_left_out_of_the_acks_stays_pending_and_the_others_are_not_told_as_pending(pool: Desk) -> None:
    await pool.append("events/a", 1)
    await pool.append("events/b", 1)
    claimed = await pool.claim("p")
    body = report_on(claimed)
    body["acks"] = [ack for ack in body["acks"] if ack["stream"] == "events/b"]
    answer = await pool.ask("POST", "subscriptions/p/ack", body, key=claimed["token"])
    assert answer == {"ok": True, "next_wake": True}
    again = await pool.claim("p")
    assert {stream["path"]: stream["has_pending"] for stream in again["streams"]} == {
        "events/a": True,
        "events/b": False,
    }


@pytest.mark.parametrize("how", ["missing", "closed", "text"])
async def test_a_wake_stream_that_cannot_be_written_is_tried_again_and_can_be_claimed_without(
    desk: Desk, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    if how == "closed":
        await desk.log.publish(Entry(topic="wake/pool", create=TopicConfig(), close=True))
    if how == "text":
        await desk.log.publish(Entry(topic="wake/pool", create=TopicConfig(content_type="text/plain")))
    await desk.pull("p")
    await desk.append("events/a", 1)

    async def failed() -> bool:
        return (await desk.show("p"))["status"] == "failed"

    await until_so(failed)
    assert "is not an open JSON stream" in caplog.text
    if how != "missing":
        await desk.log.publish(Entry(topic="wake/pool", delete=True))
    await desk.append("wake/pool")
    desk.advance(2)
    [wake] = await woken(desk, 1)
    assert wake["generation"] == (await desk.claim("p"))["generation"] == 1
    assert (await desk.show("p"))["status"] == "active"


async def test_a_subscription_is_not_woken_by_its_own_wakes(desk: Desk) -> None:
    await desk.append("wake/pool")
    await desk.pull("p", pattern="**")
    await desk.append("events/a", 1)
    await woken(desk, 1)
    claimed = await desk.claim("p")
    assert [stream["path"] for stream in claimed["streams"]] == ["events/a"]


async def test_a_stream_that_is_named_wakes_from_its_first_event_on(desk: Desk) -> None:
    await desk.append("wake/pool")
    await desk.append("manual/b", 1)
    await desk.pull("p", pattern=None, streams=["manual/a"])
    await desk.ask("POST", "subscriptions/p/streams", {"streams": ["manual/b", "manual/a"]}, status=204)
    zero = "0000000000000000_0000000000000000"
    assert (await desk.acked("p"))["manual/a"] == zero
    assert await desk.refused("POST", "subscriptions/p/claim", {"worker": "w"}, status=409) == "NO_PENDING_WORK"
    await desk.append("manual/a", 1)
    await woken(desk, 1)
    claimed = await desk.claim("p")
    pending = {stream["path"]: (stream["link_type"], stream["has_pending"]) for stream in claimed["streams"]}
    assert pending == {"manual/a": ("explicit", True), "manual/b": ("explicit", False)}


async def test_a_stream_that_is_no_longer_named_stays_if_the_pattern_matches(desk: Desk) -> None:
    await desk.append("wake/pool")
    await desk.append("events/a", 1)
    await desk.pull("p", streams=["events/a", "manual/a"])
    for path in ("events/a", "manual%2Fa", "manual/never"):
        await desk.ask("DELETE", f"subscriptions/p/streams/{path}", status=204)
    streams = (await desk.show("p"))["streams"]
    assert [(stream["path"], stream["link_type"]) for stream in streams] == [("events/a", "glob")]
    assert await desk.refused("POST", "subscriptions/p/claim", {"worker": "w"}, status=409) == "NO_PENDING_WORK"


async def test_a_stream_of_the_pattern_that_is_named_later_keeps_its_place(desk: Desk) -> None:
    await desk.append("wake/pool")
    await desk.pull("p")
    await desk.append("events/a", 1)
    await desk.ask("POST", "subscriptions/p/streams", {"streams": ["events/a"]}, status=204)
    [stream] = (await desk.show("p"))["streams"]
    assert (stream["link_type"], stream["acked_offset"]) == ("explicit", "-1")


async def test_what_is_kept_of_single_streams_goes_when_all_is_acknowledged(pool: Desk) -> None:
    for number in range(20):
        await pool.append(f"events/{number}", 1)
    claimed = await pool.claim("p")
    report = report_on(claimed, done=False)
    await pool.ask("POST", "subscriptions/p/ack", report, key=claimed["token"])
    assert len((await pool.records.get("p")).state.links) == 20
    await pool.ask("POST", "subscriptions/p/ack", report | {"done": True}, key=claimed["token"])
    assert (await pool.records.get("p")).state.links == {}
    assert len(await pool.acked("p")) == 20
    await pool.append("events/7", 2)
    pending = [stream["path"] for stream in (await pool.claim("p"))["streams"] if stream["has_pending"]]
    assert pending == ["events/7"]
