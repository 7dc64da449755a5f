"""The writer against a server that says what a real one never does."""

from __future__ import annotations

import pytest
from tests.client.scripted import Scripted, answer, scripted

from tailrace.client import NotUnderstood, Rejected, Writer
from tailrace.core.event import Draft

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has not said `retry:` yet is waited for as briefly as one that has."""
    monkeypatch.setattr("tailrace.client.reconnect.FIRST_SECONDS", 0.005)


RECEIPT = b'{"first": "1-1", "last": "1-1", "count": 1, "duplicate": false, "durability": "fsync"}'


def keys(server: Scripted) -> set[bytes]:
    return {line for head in server.heads for line in head.lower().split(b"\r\n") if line.startswith(b"idempotency")}


async def test_every_attempt_at_one_publish_carries_the_same_key() -> None:
    busy = answer("503 Service Unavailable", b"", retry_after="0")
    async with scripted(busy, b"", answer("201 Created", RECEIPT)) as server, Writer(server.url) as writer:
        receipt = await writer.publish(Draft(topic="a", data=b"1"))
    assert receipt.last == "1-1"
    assert len(server.heads) == 3
    assert len(keys(server)) == 1


async def test_two_publishes_carry_two_keys() -> None:
    async with scripted(answer("201 Created", RECEIPT)) as server, Writer(server.url) as writer:
        for _ in range(2):
            await writer.publish(Draft(topic="a", data=b"1"))
    assert len(keys(server)) == 2


async def test_an_answer_without_a_receipt_says_that_this_is_no_server_of_events() -> None:
    async with scripted(answer("200 OK", b"<html>")) as server, Writer(server.url) as writer:
        with pytest.raises(NotUnderstood, match="answered 200 without a receipt"):
            await writer.publish(Draft(topic="a", data=b"1"))
    assert len(server.heads) == 1


async def test_a_redirect_is_not_followed_blindly() -> None:
    async with scripted(answer("301 Moved Permanently", b"", location="/else")) as server, Writer(server.url) as writer:
        with pytest.raises(Rejected, match="301 Moved Permanently"):
            await writer.publish(Draft(topic="a", data=b"1"))
