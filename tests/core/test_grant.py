"""What a caller may do."""

from __future__ import annotations

import pytest

from tailrace.core.grant import EVERYTHING, Grant
from tailrace.core.selection import Selection
from tailrace.errors import Forbidden

GRANT = Grant("key no. 1", publish=("orders/*",), read=("orders/**", "prices"), manage=("orders/1",))


def test_each_right_has_patterns_of_its_own() -> None:
    assert GRANT.allows("publish", "orders/1")
    assert not GRANT.allows("publish", "orders/1/lines")
    assert GRANT.allows("read", "orders/1/lines")
    assert GRANT.allows("manage", "orders/1")
    assert not GRANT.allows("manage", "orders/2")


def test_what_is_not_granted_is_refused_by_name() -> None:
    GRANT.require("publish", "orders/1")
    with pytest.raises(Forbidden, match=r"key no\. 1 may not publish 'prices'") as caught:
        GRANT.require("publish", "prices")
    assert caught.value.extra == {"right": "publish", "topic": "prices"}


def test_exact_topics_are_granted_or_refused_as_they_are() -> None:
    selection = Selection(["orders/1", "prices"], types=["paid"])
    assert GRANT.narrow(selection) is selection
    with pytest.raises(Forbidden):
        GRANT.narrow(Selection(["orders/1", "secret"]))


def test_an_exact_topic_beside_a_pattern_is_refused_too() -> None:
    with pytest.raises(Forbidden):
        GRANT.narrow(Selection(["orders/*", "secret"]))


def test_a_pattern_is_narrowed_to_what_is_granted() -> None:
    narrowed = GRANT.narrow(Selection(["**"], types=["paid"], tags=["x"]))
    assert [topic for topic in ("orders", "orders/1", "prices", "prices/1", "secret") if narrowed.includes(topic)] == [
        "orders",
        "orders/1",
        "prices",
    ]
    assert (narrowed.types, narrowed.tags) == (("paid",), ("x",))
    assert narrowed != Selection(["**"], types=["paid"], tags=["x"])


def test_who_may_read_everything_reads_the_selection_as_it_is() -> None:
    selection = Selection(["a/**"])
    assert Grant("all", read=("**",)).narrow(selection) is selection


def test_everything_does_not_include_the_servers_own_unless_granted() -> None:
    own = Selection(["$system/**"])
    assert not Grant("all", read=("**",)).narrow(own).includes("$system/x")
    assert EVERYTHING.narrow(own).includes("$system/x")
    assert not EVERYTHING.allows("publish", "$system/x")


def test_who_may_read_nothing_is_refused_every_pattern() -> None:
    with pytest.raises(Forbidden, match="may not read any topic"):
        Grant("writer", publish=("**",)).narrow(Selection())


def test_a_grant_narrows_a_selection_once_and_for_all() -> None:
    once = GRANT.narrow(Selection(["orders/**", "a/**"]))
    assert GRANT.narrow(once) == once
