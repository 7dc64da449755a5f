"""The keys of a log: made once, the same for all who ask, and refused when they are not what they should be."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from tests.doors.durable_streams.subscriptions.desk import Desk

from tailrace.core.event import Draft
from tailrace.core.retention import TopicConfig
from tailrace.doors.durable_streams.subscriptions import keys
from tailrace.doors.durable_streams.subscriptions.keys import Keys, Pass
from tailrace.doors.durable_streams.subscriptions.refusals import SubscriptionRefused
from tailrace.errors import StoreCorrupt
from tailrace.log.store import Entry

pytestmark = pytest.mark.anyio


async def test_all_who_ask_at_once_get_the_same(desk: Desk) -> None:
    loaded = await asyncio.gather(*[keys.load(desk.log) for _ in range(10)])
    assert len({one.kid for one in loaded}) == 1
    allowed = Pass("s", 1, "w_1")
    assert loaded[0].read(loaded[1].token(allowed), "s") == allowed


def test_the_name_of_a_key_is_its_thumbprint() -> None:
    """RFC 7638, with the key of RFC 8037 appendix A."""
    private = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    made = Keys(private, b"")
    assert made.jwk["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert made.kid == "ds_kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    seed = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": made.jwk["x"]}, separators=(",", ":"))
    assert keys._bytes(made.kid[3:]) == hashlib.sha256(seed.encode()).digest()


def test_a_token_that_was_touched_is_refused() -> None:
    made = Keys(bytes(32), bytes(32))
    token = made.token(Pass("s", 1, "w_1"))
    for other in (
        token[:-1],
        token + "A",
        "A" + token,
        token.partition(".")[0],
        Keys(bytes(32), b"x").token(Pass("s", 1, "w_1")),
    ):
        with pytest.raises(SubscriptionRefused, match="not given out"):
            made.read(other, "s")
    with pytest.raises(SubscriptionRefused, match="not given out"):
        made.read(token, "t")


@pytest.mark.parametrize("data", [[], [b"{}"], [b'{"signing":"AA","tokens":"AA"}']])
async def test_a_topic_that_holds_no_keys_is_told_of(desk: Desk, data: list[bytes]) -> None:
    drafts = [Draft(topic=keys.TOPIC, data=one) for one in data]
    await desk.log.publish(Entry(topic=keys.TOPIC, create=TopicConfig(), drafts=drafts))
    with pytest.raises(StoreCorrupt):
        await keys.load(desk.log)
