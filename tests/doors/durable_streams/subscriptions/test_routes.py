"""Making, showing and deleting subscriptions; who may; and what is answered to what cannot be understood."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.doors.durable_streams.subscriptions.desk import Desk, desk_over, report_on

from tailrace.core.grant import EVERYTHING, Grant
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.doors.durable_streams.subscriptions import keys
from tailrace.doors.durable_streams.subscriptions.limits import SubscriptionLimits
from tailrace.doors.durable_streams.subscriptions.records import SWEEP_CHANGES, topic_of
from tailrace.stores.memory import MemoryStore
from tailrace.testing.clock import Clock

pytestmark = pytest.mark.anyio

HOOK = {"url": "https://worker.example/hook"}
WEBHOOK = {"type": "webhook", "pattern": "events/*", "webhook": HOOK}


@pytest.fixture
def url() -> str:
    """Memory is enough here."""
    return "memory://"


async def test_a_subscription_is_made_once_and_confirmed_afterwards(desk: Desk) -> None:
    body = {**WEBHOOK, "streams": ["b/", "/a", "a"], "description": "d"}
    created = await desk.ask("PUT", "subscriptions/s", body, status=201)
    assert created["lease_ttl_ms"] == 30_000
    assert created["status"] == "active"
    assert created["wake_stream"] is None
    assert created["webhook"]["signing"]["alg"] == "ed25519"
    assert [stream["path"] for stream in created["streams"]] == ["a", "b"]
    same = {**body, "streams": ["a", "b"]}
    assert await desk.ask("PUT", "subscriptions/s", same, status=200) == created
    assert await desk.show("s") == created
    for other in ({"description": "e"}, {"streams": ["a"]}, {"pattern": "events/**"}, {"lease_ttl_ms": 1000}):
        code = await desk.refused("PUT", "subscriptions/s", body | other, status=409)
        assert code == "SUBSCRIPTION_ALREADY_EXISTS"


async def test_of_many_who_make_it_at_once_one_has_made_it(desk: Desk) -> None:
    url = "/v1/stream/__ds/subscriptions/s"
    answers = await asyncio.gather(*[desk.http.put(url, json=WEBHOOK) for _ in range(10)])
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]


async def test_confirming_does_not_undo_what_was_named_since(desk: Desk) -> None:
    await desk.ask("PUT", "subscriptions/s", WEBHOOK, status=201)
    await desk.ask("POST", "subscriptions/s/streams", {"streams": ["x"]}, status=204)
    confirmed = await desk.ask("PUT", "subscriptions/s", WEBHOOK, status=200)
    assert [stream["path"] for stream in confirmed["streams"]] == ["x"]


async def test_a_deleted_subscription_is_not_there_and_its_deletion_can_be_repeated(desk: Desk) -> None:
    await desk.ask("PUT", "subscriptions/s", WEBHOOK, status=201)
    for _ in range(2):
        await desk.ask("DELETE", "subscriptions/s", status=204)
    assert await desk.refused("GET", "subscriptions/s", status=404) == "SUBSCRIPTION_NOT_FOUND"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("POST", "/claim", {"worker": "w"}),
        ("POST", "/streams", {"streams": ["a"]}),
        ("DELETE", "/streams/a", None),
    ],
)
async def test_what_is_asked_of_no_subscription_is_not_found(desk: Desk, method: str, path: str, body: object) -> None:
    assert await desk.refused(method, f"subscriptions/s{path}", body, status=404) == "SUBSCRIPTION_NOT_FOUND"


@pytest.mark.parametrize(
    "change",
    [
        {"type": "email"},
        {"type": None},
        {"pattern": None},
        {"pattern": "", "streams": []},
        {"pattern": "events/a*"},
        {"pattern": "$system/**"},
        {"pattern": "__ds/**"},
        {"streams": ["a", 1]},
        {"streams": ["a//b"]},
        {"streams": ["$system/a"]},
        {"streams": ["__ds/a"]},
        {"streams": ["x"] * 501},
        {"webhook": None},
        {"webhook": {}},
        {"webhook": {"url": ""}},
        {"lease_ttl_ms": 999},
        {"lease_ttl_ms": 600_001},
        {"lease_ttl_ms": 1000.5},
        {"lease_ttl_ms": "1000"},
        {"description": "d" * 1025},
        {"type": "pull-wake"},
        {"type": "pull-wake", "wake_stream": "**"},
        {"type": "pull-wake", "wake_stream": "a", "streams": ["a"]},
    ],
)
async def test_a_subscription_that_makes_no_sense_is_refused(desk: Desk, change: dict) -> None:
    assert await desk.refused("PUT", "subscriptions/s", WEBHOOK | change, status=400) == "INVALID_REQUEST"
    assert await desk.refused("GET", "subscriptions/s", status=404) == "SUBSCRIPTION_NOT_FOUND"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 2000])
async def test_a_body_that_is_no_json_object_is_refused(desk: Desk, body: bytes) -> None:
    answer = await desk.http.put("/v1/stream/__ds/subscriptions/s", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("name", ["*", "a,b", "x" * 129, "%00", "a%3Fb", "a%0A"])
async def test_an_id_that_cannot_be_one_is_refused(desk: Desk, name: str) -> None:
    assert await desk.refused("PUT", f"subscriptions/{name}", WEBHOOK, status=400) == "INVALID_REQUEST"


async def test_an_id_of_any_other_kind_is_found_again_by_its_address(desk: Desk) -> None:
    await desk.ask("PUT", "subscriptions/gr%C3%BC%C3%9Fe%20%25", WEBHOOK, status=201)
    assert (await desk.ask("GET", "subscriptions/gr%C3%BC%C3%9Fe%20%25"))["id"] == "grüße %"
    record = await desk.records.get("grüße %")
    assert record.state.address == "http://desk.test/v1/stream/__ds/subscriptions/gr%C3%BC%C3%9Fe%20%25"


async def test_an_unsafe_url_is_refused_by_its_own_code(desk: Desk) -> None:
    body = WEBHOOK | {"webhook": {"url": "http://10.0.0.1/hook"}}
    assert await desk.refused("PUT", "subscriptions/s", body, status=400) == "WEBHOOK_URL_REJECTED"


async def test_a_body_that_is_too_large_is_refused(desk: Desk) -> None:
    body = WEBHOOK | {"description": "d" * 1024 * 1024}
    assert await desk.refused("PUT", "subscriptions/s", body, status=413) == "TOO_LARGE"


async def test_other_addresses_and_methods_are_refused_in_the_same_form(desk: Desk) -> None:
    assert await desk.refused("GET", "nowhere", status=404) == "NOT_FOUND"
    assert await desk.refused("PUT", "subscriptions/s/claim/x", status=404) == "NOT_FOUND"
    answer = await desk.http.patch("/v1/stream/__ds/subscriptions/s")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD, PUT"
    assert (await desk.http.get("/v1/stream/__ds")).status_code == 404
    head = await desk.http.head("/v1/stream/__ds/subscriptions/s")
    assert (head.status_code, head.content) == (404, b"")


async def test_the_public_keys_may_be_cached(desk: Desk) -> None:
    answer = await desk.http.get("/v1/stream/__ds/jwks.json")
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    [key] = answer.json()["keys"]
    assert {name: key[name] for name in ("kty", "crv", "alg", "use")} == {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
    }
    assert "d" not in key


async def test_the_way_of_working_must_be_the_subscriptions(desk: Desk) -> None:
    await desk.ask("PUT", "subscriptions/s", WEBHOOK, status=201)
    assert await desk.refused("POST", "subscriptions/s/claim", {"worker": "w"}, status=400) == "INVALID_REQUEST"
    await desk.pull("p")
    await desk.append("events/a", 1)
    claimed = await desk.claim("p")
    body, key = report_on(claimed), claimed["token"]
    assert await desk.refused("POST", "subscriptions/p/callback", body, key=key, status=400) == "INVALID_REQUEST"


@pytest.mark.parametrize("worker", [{"worker": ""}, {}, {"worker": 1}, {"worker": "w" * 1025}])
async def test_who_claims_has_a_name(desk: Desk, worker: dict) -> None:
    assert await desk.refused("POST", "subscriptions/p/claim", worker, status=400) == "INVALID_REQUEST"


@pytest.mark.parametrize("token", ["", "x", "é", "e30.x"])
async def test_a_token_of_nobody_is_refused(desk: Desk, token: str) -> None:
    report = {"wake_id": "w_1", "generation": 1}
    for action in ("callback", "ack", "release"):
        url = f"/v1/stream/__ds/subscriptions/p/{action}"
        answer = await desk.http.post(url, json=report, headers={"authorization": f"Bearer {token}".encode()})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "TOKEN_INVALID")


async def test_a_token_is_for_one_subscription(desk: Desk) -> None:
    await desk.pull("p")
    await desk.pull("q")
    await desk.append("events/a", 1)
    claimed = await desk.claim("p")
    await desk.claim("q")
    body = report_on(claimed)
    assert await desk.refused("POST", "subscriptions/q/ack", body, key=claimed["token"], status=401) == "TOKEN_INVALID"


@pytest.mark.parametrize("change", [{"wake_id": "w_other"}, {"generation": 99}])
async def test_a_report_of_another_wake_is_fenced_although_the_token_is_right(desk: Desk, change: dict) -> None:
    await desk.pull("p")
    await desk.append("events/a", 1)
    claimed = await desk.claim("p")
    body = report_on(claimed) | change
    assert await desk.refused("POST", "subscriptions/p/ack", body, key=claimed["token"], status=409) == "FENCED"


# ---- bounds -------------------------------------------------------------------------------------------------


@pytest.fixture
async def narrow(clock: Clock) -> AsyncIterator[Desk]:
    limits = SubscriptionLimits(subscriptions=2, streams=2, links=3, streams_told=3)
    async with desk_over(MemoryStore(), clock, limits=limits) as desk:
        yield desk


async def test_there_are_only_so_many_subscriptions(narrow: Desk) -> None:
    for name in ("a", "b"):
        await narrow.pull(name)
    assert await narrow.refused("PUT", "subscriptions/c", WEBHOOK, status=409) == "LIMIT_EXCEEDED"
    await narrow.ask("DELETE", "subscriptions/a", status=204)
    await narrow.ask("PUT", "subscriptions/c", WEBHOOK, status=201)


async def test_only_so_many_streams_can_be_named(narrow: Desk) -> None:
    await narrow.pull("p", streams=["a"])
    await narrow.ask("POST", "subscriptions/p/streams", {"streams": ["b"]}, status=204)
    body = {"streams": ["c"]}
    assert await narrow.refused("POST", "subscriptions/p/streams", body, status=409) == "LIMIT_EXCEEDED"
    body = {"streams": ["c", "d", "e"]}
    assert await narrow.refused("POST", "subscriptions/p/streams", body, status=400) == "INVALID_REQUEST"


async def test_its_own_wake_stream_cannot_be_named(narrow: Desk) -> None:
    await narrow.pull("p")
    body = {"streams": ["wake/pool"]}
    assert await narrow.refused("POST", "subscriptions/p/streams", body, status=400) == "INVALID_REQUEST"


async def test_more_streams_than_can_be_told_come_in_further_wakes(narrow: Desk) -> None:
    await narrow.pull("p")
    for number in range(7):
        await narrow.append(f"events/{number}", 1)
    shown = await narrow.show("p")
    assert (len(shown["streams"]), shown["streams_total"]) == (3, 7)
    claimed = await narrow.claim("p")
    assert [stream["path"] for stream in claimed["streams"]] == ["events/0", "events/1", "events/2"]
    await narrow.ask("POST", "subscriptions/p/ack", report_on(claimed), key=claimed["token"])
    assert (await narrow.records.get("p")).state.links == {}, "what is acknowledged in order needs no place of its own"
    claimed = await narrow.claim("p")
    assert [stream["path"] for stream in claimed["streams"]] == ["events/3", "events/4", "events/5"]
    await narrow.ask("POST", "subscriptions/p/ack", report_on(claimed), key=claimed["token"])
    claimed = await narrow.claim("p")
    assert [stream["path"] for stream in claimed["streams"] if stream["has_pending"]] == ["events/6"]
    answer = await narrow.ask("POST", "subscriptions/p/ack", report_on(claimed), key=claimed["token"])
    assert answer["next_wake"] is False


async def test_who_is_pending_for_longest_comes_first(narrow: Desk) -> None:
    await narrow.pull("p")
    for path in ("events/z", "events/y", "events/x", "events/w"):
        await narrow.append(path, 1)
    claimed = await narrow.claim("p")
    assert [stream["path"] for stream in claimed["streams"]] == ["events/z", "events/y", "events/x"]
    await narrow.ask("POST", "subscriptions/p/ack", report_on(claimed), key=claimed["token"])
    await narrow.append("events/a", 1)
    claimed = await narrow.claim("p")
    assert [stream["path"] for stream in claimed["streams"]][:2] == ["events/w", "events/a"]


async def test_only_so_many_places_out_of_order_are_kept(narrow: Desk) -> None:
    await narrow.pull("p")
    for number in range(14):
        await narrow.append(f"events/{number % 7}", 1)
    claimed = await narrow.claim("p")
    await narrow.ask("POST", "subscriptions/p/ack", report_on(claimed), key=claimed["token"])
    assert len((await narrow.records.get("p")).state.links) == 3
    claimed = await narrow.claim("p")
    for done in (True, False):
        report = report_on(claimed, done=done)
        code = await narrow.refused("POST", "subscriptions/p/ack", report, key=claimed["token"], status=409)
        assert code == "LIMIT_EXCEEDED"
    report = report_on(claimed)
    report["acks"] *= 2
    code = await narrow.refused("POST", "subscriptions/p/ack", report, key=claimed["token"], status=400)
    assert code == "INVALID_REQUEST"


async def test_older_states_are_removed_from_the_log(desk: Desk) -> None:
    await desk.pull("p")
    for number in range(SWEEP_CHANGES + 10):
        path = {"streams": ["x"]} if number % 2 == 0 else None
        method, rest = ("POST", "streams") if path else ("DELETE", "streams/x")
        await desk.ask(method, f"subscriptions/p/{rest}", path, status=204)
    info = await desk.log.store.describe(topic_of("p"))
    assert info.events <= 20
    assert (await desk.show("p"))["streams"] == []


# ---- who may ------------------------------------------------------------------------------------------------


@pytest.fixture
async def guarded(clock: Clock) -> AsyncIterator[Desk]:
    grants = [
        Grant("boss", manage=("events/**",), publish=("wake/*",), read=("events/**",)),
        Grant("half", manage=("events/*/a", "events/x"), publish=("wake/*",), read=("**",)),
        Grant("mute", manage=("**",), read=("**",)),
        Grant("worker", read=("events/*",)),
        Grant("stranger", read=("other/**",)),
    ]
    async with desk_over(MemoryStore(), clock, grants=grants) as desk:
        yield desk


PULL = {"type": "pull-wake", "pattern": "events/*", "wake_stream": "wake/w"}


async def test_who_makes_a_subscription_manages_all_it_matches(guarded: Desk) -> None:
    path = "subscriptions/p"
    assert await guarded.refused("PUT", path, PULL, status=401) == "UNAUTHORIZED"
    for key in ("half", "worker", "stranger"):
        assert await guarded.refused("PUT", path, PULL, key=key, status=403) == "FORBIDDEN"
    assert await guarded.refused("PUT", path, PULL, key="mute", status=403) == "FORBIDDEN", "no wake stream"
    body = PULL | {"streams": ["other/a"]}
    assert await guarded.refused("PUT", path, body, key="boss", status=403) == "FORBIDDEN"
    await guarded.ask("PUT", path, PULL, key="boss", status=201)


async def test_changing_and_deleting_take_the_same_and_claiming_takes_reading(guarded: Desk) -> None:
    await guarded.ask("PUT", "subscriptions/p", PULL, key="boss", status=201)
    for key in ("half", "worker", "stranger"):
        assert await guarded.refused("DELETE", "subscriptions/p", key=key, status=403) == "FORBIDDEN"
        body = {"streams": ["events/x"]}
        assert await guarded.refused("POST", "subscriptions/p/streams", body, key=key, status=403) == "FORBIDDEN"
        assert await guarded.refused("DELETE", "subscriptions/p/streams/x", key=key, status=403) == "FORBIDDEN"
    body = {"streams": ["other/x"]}
    assert await guarded.refused("POST", "subscriptions/p/streams", body, key="boss", status=403) == "FORBIDDEN"
    await guarded.append("events/a", 1)
    assert await guarded.refused("GET", "subscriptions/p", key="stranger", status=403) == "FORBIDDEN"
    who = {"worker": "w"}
    assert await guarded.refused("POST", "subscriptions/p/claim", who, key="stranger", status=403) == "FORBIDDEN"
    claimed = await guarded.ask("POST", "subscriptions/p/claim", who, key="worker")
    await guarded.ask("POST", "subscriptions/p/ack", report_on(claimed), key=claimed["token"])
    await guarded.ask("DELETE", "subscriptions/p", key="boss", status=204)


async def test_the_keys_are_in_a_topic_that_no_usual_grant_includes(desk: Desk) -> None:
    await desk.ask("GET", "jwks.json")
    assert (await desk.log.store.describe(keys.TOPIC)).events == 1
    assert not EVERYTHING.allows("read", keys.TOPIC)
    assert not Grant("auditor", read=("**", "$system/**")).allows("read", keys.TOPIC)
    for selection in (Selection(["**"]), Selection(["$system/**"])):
        page = await desk.log.store.read(selection, Cursor(desk.log.tail.epoch, 0), 100)
        assert not any(event.topic == keys.TOPIC for event in page.events)
