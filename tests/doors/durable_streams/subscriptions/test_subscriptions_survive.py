"""Several workers over one log, and what is left of a subscription when a process is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.doors.durable_streams.subscriptions.desk import Desk, Receiver, desk_over, receiving, report_on, until_so

from tailrace.log.limits import LogLimits
from tailrace.stores.from_url import open_store
from tailrace.stores.sqlite_remote import SharedStore
from tailrace.testing.clock import Clock

pytestmark = pytest.mark.anyio

SUBSCRIPTIONS = 20


@pytest.fixture
async def two(tmp_path: Path, clock: Clock) -> AsyncIterator[tuple[Desk, Desk]]:
    """Two workers over one file."""
    path = tmp_path / "log.db"
    one = await SharedStore.open_shared(path, LogLimits())
    other = await SharedStore.open_shared(path, LogLimits())
    async with desk_over(one, clock) as first, desk_over(other, clock) as second:
        yield second, first  # the first writes the file, and is closed last


async def test_of_two_workers_one_delivers_each_wake(two: tuple[Desk, Desk], receiver: Receiver) -> None:
    one, other = two
    for number in range(SUBSCRIPTIONS):
        await (one, other)[number % 2].webhook(f"s{number}", receiver.url)
    await until_so(lambda: knows(one, SUBSCRIPTIONS))
    await until_so(lambda: knows(other, SUBSCRIPTIONS))
    for number in range(10):
        await asyncio.gather(one.append("events/a", number), other.append("events/b", number))
    for number in range(SUBSCRIPTIONS):
        await until_so(lambda: is_held(one, f"s{number}"))  # noqa: B023 - awaited here
    told = Counter((got.body["subscription_id"], got.body["generation"]) for got in receiver.got)
    assert told == {(f"s{number}", 1): 1 for number in range(SUBSCRIPTIONS)}


async def test_of_two_workers_one_writes_each_wake_event(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await one.append("wake/pool")
    for number in range(SUBSCRIPTIONS):
        await one.pull(f"p{number}", lease=30_000)
    await until_so(lambda: knows(other, SUBSCRIPTIONS))
    await other.append("events/a", 1)

    async def all_woken() -> bool:
        return (await one.log.store.describe("wake/pool")).events >= SUBSCRIPTIONS

    await until_so(all_woken)
    claims = [desk.claim(f"p{number}") for number, desk in enumerate([one, other] * (SUBSCRIPTIONS // 2))]
    assert [claimed["generation"] for claimed in await asyncio.gather(*claims)] == [1] * SUBSCRIPTIONS
    assert (await one.log.store.describe("wake/pool")).events == SUBSCRIPTIONS


async def test_claims_at_two_workers_at_once_leave_one_holder(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await one.pull("p")
    await other.append("events/a", 1)
    url = "/v1/stream/__ds/subscriptions/p/claim"
    claims = [desk.http.post(url, json={"worker": f"w{number}"}) for number, desk in enumerate([one, other] * 5)]
    answers = await asyncio.gather(*claims)
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    claimed = next(answer.json() for answer in answers if answer.status_code == 200)
    report = report_on(claimed)
    acks = [desk.http.post(url.replace("claim", "ack"), json=report, headers=bearer(claimed)) for desk in two]
    assert sorted(answer.status_code for answer in await asyncio.gather(*acks)) == [200, 409]


async def test_a_token_of_one_worker_is_good_at_another(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await one.pull("p")
    await one.append("events/a", 1)
    claimed = await one.claim("p")
    answer = await other.ask("POST", "subscriptions/p/ack", report_on(claimed), key=claimed["token"])
    assert answer == {"ok": True, "next_wake": False}


async def test_what_one_worker_deletes_the_other_forgets(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await one.pull("p")
    await one.pull("q")
    await until_so(lambda: knows(other, 2))
    await one.ask("DELETE", "subscriptions/p", status=204)
    await until_so(lambda: knows(other, 1))
    assert list(other.subscriptions.dispatcher._known) == ["q"]


async def test_a_worker_that_died_while_it_delivered_is_followed_by_another(
    two: tuple[Desk, Desk], receiver: Receiver
) -> None:
    one, other = two
    receiver.hold = asyncio.Event()
    await one.webhook("s", receiver.url, lease=30_000)
    await until_so(lambda: knows(other, 1))
    await one.append("events/a", 1)
    await receiver.next(1)
    dead, alive = (one, other) if one.subscriptions.dispatcher._deliveries else (other, one)
    await dead.subscriptions.aclose()
    receiver.hold.set()
    alive.advance(31)
    assert len(receiver.got) == 1, "it might still be on its way"
    alive.advance(2)
    again = await receiver.next(2)
    assert again.body["generation"] == 2
    key = again.body["callback_token"]
    await dead.ask("POST", "subscriptions/s/callback", again.report(), key=key)


WORKER = """
import asyncio, sys
from tailrace.stores.from_url import open_store
from tailrace.testing.clock import Clock
from tests.doors.durable_streams.subscriptions.desk import desk_over

async def main(store, hook):
    async with desk_over(await open_store(store), Clock()) as desk:
        await desk.append("wake/pool")
        await desk.pull("p", lease=600_000)
        await desk.webhook("s", hook, lease=30_000)
        await desk.append("events/a", 1, 2, 3)
        claimed = await desk.claim("p")
        print(claimed["token"], flush=True)
        await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_process_that_is_killed_between_wake_and_ack_loses_nothing(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/log.db"
    async with receiving() as receiver:
        receiver.hold = asyncio.Event()
        env = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path.cwd())])}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, store, receiver.url, stdout=asyncio.subprocess.PIPE, env=env
        )
        assert process.stdout is not None
        token = (await process.stdout.readline()).decode().strip()
        first = await receiver.next(1)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        receiver.hold.set()

        clock = Clock()
        async with desk_over(await open_store(store), clock) as desk:
            assert (await desk.show("s"))["webhook"]["signing"]["kid"] in first.headers["webhook-signature"]
            state = (await desk.records.get("p")).state
            assert state.wake is not None
            wake = {"wake_id": state.wake.id, "generation": state.generation}
            answer = await desk.ask("POST", "subscriptions/p/ack", {**wake, "done": True}, key=token)
            assert answer == {"ok": True, "next_wake": True}, "its lease and its token outlive the server"
            desk.advance(60)
            second = await receiver.next(2)
            assert second.body["generation"] == 2
            assert second.body["streams"] == first.body["streams"]
            key = first.body["callback_token"]
            code = await desk.refused("POST", "subscriptions/s/callback", first.report(), key=key, status=409)
            assert code == "FENCED"
            key = second.body["callback_token"]
            await desk.ask("POST", "subscriptions/s/callback", second.report(), key=key)
            assert await desk.acked("s") == second.tails


def bearer(claimed: dict) -> dict[str, str]:
    return {"authorization": f"Bearer {claimed['token']}"}


async def knows(desk: Desk, subscriptions: int) -> bool:
    return desk.subscriptions.dispatcher.count == subscriptions


async def is_held(desk: Desk, name: str) -> bool:
    state = (await desk.records.get(name)).state
    return state.wake is not None and state.wake.until == desk.clock() + state.terms.lease_ms
