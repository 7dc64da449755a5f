"""The loop that wakes: it goes on when the store fails, knows what others have done, and does nothing in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.doors.durable_streams.subscriptions.desk import Desk, Receiver, until, until_so

from tailrace.core.event import Draft
from tailrace.doors.durable_streams.subscriptions import dispatcher as dispatching
from tailrace.doors.durable_streams.subscriptions import records as recording
from tailrace.doors.durable_streams.subscriptions.records import topic_of
from tailrace.errors import Overloaded, StoreFull
from tailrace.log.store import Entry

pytestmark = pytest.mark.anyio


@pytest.fixture
def url() -> str:
    """Memory is enough here."""
    return "memory://"


def failing(times: int, error: Exception, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same work, after it has failed so many times."""
    left = times

    async def first_fail(*arguments: object) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise error
        return await work(*arguments)

    return first_fail


@pytest.mark.parametrize("error", [StoreFull(), RuntimeError("a defect")])
async def test_what_could_not_be_done_is_done_later(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(dispatching, "PAUSE_SECONDS", 0.01)
    await desk.webhook("s", receiver.url)
    waking = desk.subscriptions.dispatcher._waking
    monkeypatch.setattr(waking, "attend", failing(3, error, waking.attend))
    await desk.append("events/a", 1)
    assert (await receiver.next(1)).body["generation"] == 1


@pytest.mark.parametrize("error", [StoreFull(), RuntimeError("a defect")])
async def test_a_delivery_whose_outcome_is_lost_is_made_again_when_its_time_is_over(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await desk.webhook("s", receiver.url)
    monkeypatch.setattr(desk.records, "change", failing(1, error, desk.records.change))
    await desk.append("events/a", 1)
    await receiver.next(1)
    await until(lambda: not desk.subscriptions.dispatcher._deliveries)
    desk.advance(33)
    assert (await receiver.next(2)).body["generation"] == 2


async def test_following_goes_on_after_the_store_has_failed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatching, "PAUSE_SECONDS", 0.01)
    await desk.subscriptions.aclose()
    monkeypatch.setattr(desk.log.store, "read", failing(3, StoreFull(), desk.log.store.read))
    await desk.pull("p")
    desk.subscriptions.start()
    await until(lambda: desk.subscriptions.dispatcher.count == 1)
    assert desk.subscriptions.dispatcher.count == 1


async def test_a_record_that_cannot_be_read_does_not_keep_others_from_being_known(desk: Desk) -> None:
    topic = topic_of("broken")
    await desk.log.publish(Entry(topic=topic, drafts=[Draft(topic=topic, data=b"{}")]))
    await desk.pull("p")
    await until(lambda: desk.subscriptions.dispatcher.count == 1)
    assert (await desk.ask("GET", "subscriptions/broken", status=503))["error"]["code"] == "STORE_CORRUPT"


async def test_a_wake_in_flight_is_not_looked_at_again_for_every_publish(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    view = desk.subscriptions.service.view

    async def counted(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return await view(*arguments)

    await desk.webhook("s", receiver.url)
    monkeypatch.setattr(desk.subscriptions.service, "view", counted)
    for number in range(100):
        await desk.append("events/a", number)
    got = await receiver.next(1)
    assert looks == 1
    assert desk.log.wakeup.watchers == 1, "only the one who follows the subscriptions"
    await desk.ask("POST", "subscriptions/s/callback", got.report(), key=got.body["callback_token"])


async def test_what_changes_without_end_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*arguments: object) -> None:
        return None

    await desk.pull("p")
    monkeypatch.setattr(recording, "ATTEMPTS", 3)
    monkeypatch.setattr(desk.records, "replace", never)
    code = await desk.refused("POST", "subscriptions/p/streams", {"streams": ["x"]}, status=503)
    assert code == Overloaded.code.upper()


async def test_a_subscription_that_is_deleted_while_it_is_changed_is_not_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.pull("p")
    await desk.append("events/a", 1)
    view = desk.subscriptions.service.view

    async def deleted_meanwhile(*arguments: Any) -> Any:
        seen = await view(*arguments)
        await desk.records.delete("p")
        return seen

    monkeypatch.setattr(desk.subscriptions.service, "view", deleted_meanwhile)
    code = await desk.refused("POST", "subscriptions/p/claim", {"worker": "w"}, status=404)
    assert code == "SUBSCRIPTION_NOT_FOUND"


async def test_many_changes_at_once_all_happen(desk: Desk) -> None:
    await desk.pull("p")
    add = [
        desk.ask("POST", "subscriptions/p/streams", {"streams": [f"x/{number}"]}, status=204) for number in range(30)
    ]
    await asyncio.gather(*add)
    assert len((await desk.show("p"))["streams"]) == 30


async def test_a_gap_that_names_too_many_has_all_looked_at(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatching, "GAP_TOPICS", 1)
    for name in ("p", "q"):
        await desk.pull(name)
    await desk.log.publish(Entry(topic=topic_of("p"), delete=True))

    async def forgotten() -> bool:
        return desk.subscriptions.dispatcher.count == 1

    await until_so(forgotten)
    assert list(desk.subscriptions.dispatcher._known) == ["q"]


async def test_a_stop_leaves_nobody_watching(desk: Desk) -> None:
    await desk.pull("p", streams=["a", "b"])
    await desk.subscriptions.aclose()
    assert desk.log.wakeup.watchers == 0
    assert desk.subscriptions.dispatcher.count == 0
