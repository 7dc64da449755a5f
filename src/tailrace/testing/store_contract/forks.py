"""Forks: topics that begin as copies of others, and what is left of a topic that others were forked from."""

from __future__ import annotations

import pytest

from tailrace.core.condition import Condition
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import (
    ContentTypeConflict,
    InvalidFork,
    TailraceError,
    TopicClosed,
    TopicExists,
    TopicGone,
    TopicNotFound,
)
from tailrace.log.store import Entry, Fork, Gap, Store
from tailrace.testing.store_contract.subject import (
    EVERYTHING,
    Clock,
    Subject,
    at,
    beginning,
    contents,
    delete,
    draft,
    entry,
    fork,
    names,
    publish,
    publish_each,
    read_all,
    read_back_all,
    refusal,
    sweep_all,
)

PLAIN = TopicConfig()
ONE = TopicConfig(retention=Retention(max_events=1))
DEPTH = 80
"""Forks of forks of forks: more than a store need merge at once."""


async def numbered(store: Store, topic: str, *numbers: int) -> list[int]:
    """Publish events that say a number; answers their positions."""
    appended = await publish_each(store, [draft(topic, b"%d" % number) for number in numbers])
    return [event.position for event in appended.events]


async def absence(store: Store, topic: str) -> type[TailraceError]:
    """Why a topic cannot be described, read or published to: all say the same."""
    with pytest.raises((TopicGone, TopicNotFound)) as described:
        await store.describe(topic)
    with pytest.raises(described.type):
        await store.read_topic(topic, await beginning(store), 1)
    with pytest.raises(described.type):
        await store.configure(topic, PLAIN)
    with pytest.raises(described.type):
        await store.sweep(topic, 0, 1)
    assert type(await refusal(store, topic=topic, delete=True)) is described.type
    return described.type


class ForkChecks(Subject):
    """Rule 2 of `Entry` with `forked_from`, and the law of forks."""

    # ---- what a fork shows ----------------------------------------------------------------------------------

    async def test_a_fork_shows_its_source_up_to_its_position_then_its_own(self, store: Store) -> None:
        positions = await numbered(store, "a", 1, 2, 3)
        receipt = await fork(store, "f", "a", positions[1], draft("f", b"own"))
        assert receipt.created
        await numbered(store, "a", 4)
        await numbered(store, "f", 5)
        assert await contents(store, "f") == [b"1", b"2", b"own", b"5"]
        assert await contents(store, "a") == [b"1", b"2", b"3", b"4"]
        assert (await store.describe("f")).forked_from == Fork("a", positions[1])

    async def test_what_is_inherited_is_as_it_was_in_its_source(self, store: Store) -> None:
        await publish(store, draft("a", b"1", type="paid", tags=("x",), id="7"), draft("a", b"2"))
        inherited = await read_all(store, Selection(["a"]))
        await fork(store, "f", "a")
        assert await read_all(store, Selection(["f"])) == inherited

    async def test_a_fork_without_a_position_takes_all_of_its_source(self, store: Store) -> None:
        positions = await numbered(store, "a", 1, 2)
        receipt = await fork(store, "f", "a")
        assert receipt.tail == positions[-1]
        await numbered(store, "a", 3)
        info = await store.describe("f")
        assert info.forked_from == Fork("a", positions[-1])
        assert (info.tail, info.first, info.last, info.events, info.size) == (positions[-1], None, None, 0, 0)
        assert await contents(store, "f") == [b"1", b"2"]

    async def test_a_fork_at_the_beginning_is_empty(self, store: Store) -> None:
        await numbered(store, "a", 1)
        assert (await fork(store, "f", "a", 0)).tail == 0
        assert await contents(store, "f") == []

    async def test_an_empty_topic_can_be_forked(self, store: Store) -> None:
        await publish(store, topic="a", create=PLAIN)
        await fork(store, "f", "a")
        await numbered(store, "a", 1)
        await numbered(store, "f", 2)
        assert await contents(store, "f") == [b"2"]

    async def test_forks_can_be_forked(self, store: Store) -> None:
        root = await numbered(store, "a", 1, 2, 3)
        await fork(store, "f", "a", root[1])
        middle = await numbered(store, "f", 4, 5)
        await fork(store, "g", "f", middle[0])
        await fork(store, "h", "f", root[0])
        for topic in ("a", "f", "g", "h"):
            await numbered(store, topic, 6)
        assert await contents(store, "g") == [b"1", b"2", b"4", b"6"]
        assert await contents(store, "h") == [b"1", b"6"]
        assert (await store.describe("h")).forked_from == Fork("f", root[0])

    @pytest.mark.parametrize("limit", [1, 7, 1000])
    async def test_a_long_line_of_forks_is_read_from_end_to_end(self, store: Store, limit: int) -> None:
        await numbered(store, "0", 0)
        for depth in range(1, DEPTH):
            await fork(store, str(depth), str(depth - 1), None, draft(str(depth), b"%d" % depth))
        expected = [b"%d" % depth for depth in range(DEPTH)]
        last = Selection([str(DEPTH - 1)])
        assert [event.data for event in await read_all(store, last, limit=limit)] == expected
        assert [event.data for event in await read_back_all(store, last, limit=limit)] == expected[::-1]

    async def test_what_is_inherited_is_shown_only_when_the_fork_is_read_alone(self, store: Store) -> None:
        await numbered(store, "a", 1)
        await publish(store, draft("other", b"2"))
        await fork(store, "f", "a", None, draft("f", b"3"))
        for selection, expected in (
            (Selection(["f", "other"]), [b"2", b"3"]),
            (Selection(["f/**", "other"]), [b"2", b"3"]),
            (Selection(["f/**"]), [b"3"]),
        ):
            assert [event.data for event in await read_all(store, selection)] == expected
        assert [event.data for event in await read_all(store)] == [b"1", b"2", b"3"]
        granted = Selection(["f"], within=["f"])
        assert [event.data for event in await read_all(store, granted)] == [b"1", b"3"]

    async def test_types_and_tags_select_among_what_is_inherited(self, store: Store) -> None:
        await publish(
            store,
            *[draft("a", b"1", type="paid"), draft("a", b"2", tags=("x",)), draft("a", b"3", type="paid", tags=("x",))],
        )
        await fork(store, "f", "a", None, draft("f", b"4", type="paid", tags=("x",)), draft("f", b"5"))
        for limit in (1, 100):
            for selection, expected in (
                (Selection(["f"], types=["paid"]), [b"1", b"3", b"4"]),
                (Selection(["f"], tags=["x"]), [b"2", b"3", b"4"]),
                (Selection(["f"], types=["paid"], tags=["x"]), [b"3", b"4"]),
            ):
                assert [event.data for event in await read_all(store, selection, limit=limit)] == expected
                assert [event.data for event in await read_back_all(store, selection, limit=limit)] == expected[::-1]

    async def test_a_fork_is_read_page_by_page_and_back(self, store: Store) -> None:
        positions = await numbered(store, "a", *range(6))
        await fork(store, "f", "a", positions[3], *[draft("f", b"%d" % number) for number in (7, 8)])
        selection, expected = Selection(["f"]), [b"0", b"1", b"2", b"3", b"7", b"8"]
        for limit in (1, 2, 3, 5, 6):
            assert [event.data for event in await read_all(store, selection, limit=limit)] == expected
            assert [event.data for event in await read_back_all(store, selection, limit=limit)] == expected[::-1]
        page = await store.read(selection, await at(store, positions[2]), 2)
        assert [event.data for event in page.events] == [b"3", b"7"]
        page = await store.read_back(selection, await at(store, positions[2]), 2)
        assert [event.data for event in page.events] == [b"1", b"0"]

    async def test_a_fork_is_read_together_with_what_it_is(self, store: Store) -> None:
        await numbered(store, "a", 1)
        await fork(store, "f", "a", None, draft("f", b"2"))
        view = await store.read_topic("f", await beginning(store), 10)
        assert view.info == await store.describe("f")
        assert [event.data for event in view.page.events] == [b"1", b"2"]

    async def test_how_much_it_took_of_the_next_request_is_kept(self, store: Store) -> None:
        positions = await numbered(store, "a", 1, 2)
        whence = Fork("a", positions[0], 3)
        await publish(store, draft("f", b"part"), create=PLAIN, forked_from=whence)
        assert (await store.describe("f")).forked_from == whence
        assert (await store.topics("f"))[0].forked_from == whence
        assert await contents(store, "f") == [b"1", b"part"]

    async def test_readers_who_know_a_topic_see_what_it_is_when_it_is_made_again(self, store: Store) -> None:
        selection = Selection(["f"])
        await numbered(store, "a", 1)
        await numbered(store, "b", 2)
        for source, expected in (("a", [b"1"]), ("b", [b"2"]), ("", []), ("a", [b"1"])):
            if source:
                await fork(store, "f", source)
            else:
                await publish(store, topic="f", create=PLAIN)
            for _ in range(3):
                assert [event.data for event in await read_all(store, selection)] == expected
            await delete(store, "f")

    # ---- its birth ------------------------------------------------------------------------------------------

    async def test_a_forks_birth_takes_a_position_and_is_told(self, store: Store) -> None:
        await numbered(store, "a", 1)
        before = await store.tip()
        appended = await store.append([_fork_of("a", "f")])
        assert appended.last > before.position
        assert list(appended.marks) == [("f", appended.last)]

    async def test_a_fork_inherits_neither_producers_nor_sequence_nor_closing(self, store: Store) -> None:
        numbers = Producer("p", 0, 0)
        await publish(store, draft("a", id="1"), producer=numbers, stream_seq="9", idempotency_key="k", close=True)
        await fork(store, "f", "a")
        assert not (await store.describe("f")).closed
        assert not (await store.read(Selection(["f"]), await beginning(store), 10)).closed
        receipt = await publish(store, draft("f", id="1"), producer=numbers, stream_seq="1", idempotency_key="k")
        assert not receipt.duplicate

    async def test_a_fork_that_exists_is_left_as_it_is(self, store: Store) -> None:
        positions = await numbered(store, "a", 1, 2)
        await fork(store, "f", "a", positions[0])
        tip = await store.tip()
        assert not (await fork(store, "f", "a", positions[1])).created
        assert (await store.describe("f")).forked_from == Fork("a", positions[0])
        assert await store.tip() == tip
        error = await refusal(store, topic="f", create=ONE, forked_from=Fork("a"))
        assert isinstance(error, TopicExists)

    async def test_a_source_made_in_the_same_step_can_be_forked(self, store: Store) -> None:
        from_new = [_entry("a", b"1"), _fork_of("a", "f"), _entry("a", b"2"), _fork_of("f", "g"), _entry("g", b"3")]
        await store.append(from_new)
        assert await contents(store, "g") == [b"1", b"3"]

    async def test_a_closed_fork_ends_where_it_ends(self, store: Store) -> None:
        positions = await numbered(store, "a", 1, 2)
        await fork(store, "f", "a", positions[0], close=True)
        page = await store.read(Selection(["f"]), await beginning(store), 10)
        assert (page.closed, page.tail, [event.data for event in page.events]) == (True, positions[0], [b"1"])
        assert (await store.read(Selection(["f"]), await store.tip(), 10)).tail == positions[0]
        assert isinstance(await refusal(store, draft("f")), TopicClosed)

    async def test_a_condition_asks_only_for_a_forks_own_events(self, store: Store) -> None:
        await numbered(store, "a", 1)
        await fork(store, "f", "a")
        await publish(store, draft("f"), condition=Condition(Selection(["f"]), await beginning(store)))

    # ---- refused forks --------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("whence", "create", "expected"),
        [
            (Fork("none"), PLAIN, TopicNotFound),
            (Fork("f"), PLAIN, TopicNotFound),
            (Fork("text", 10**15), PLAIN, InvalidFork),
            (Fork("text"), TopicConfig(content_type="text/html"), ContentTypeConflict),
        ],
    )
    async def test_a_refused_fork_leaves_nothing_behind(
        self, store: Store, whence: Fork, create: TopicConfig, expected: type[TailraceError]
    ) -> None:
        await publish(store, draft("text"), create=TopicConfig(content_type="text/plain"))
        tip = await store.tip()
        assert type(await refusal(store, topic="f", create=create, forked_from=whence)) is expected
        assert await store.tip() == tip
        assert await names(store) == ["text"]
        await delete(store, "text")
        assert await absence(store, "text") is TopicNotFound

    async def test_a_fork_refused_by_a_later_rule_leaves_no_reference(self, store: Store) -> None:
        await numbered(store, "a", 1)
        failing = Condition(Selection(["a"]), await beginning(store))
        await refusal(store, topic="f", create=PLAIN, forked_from=Fork("a"), condition=failing)
        await delete(store, "a")
        assert await absence(store, "a") is TopicNotFound

    async def test_what_was_removed_of_its_source_cannot_be_forked(self, store: Store) -> None:
        positions = await numbered(store, "a", 1, 2, 3)
        await fork(store, "f", "a")
        await store.configure("a", ONE)
        await sweep_all(store, "a", 0)
        for source in ("a", "f"):
            error = await refusal(store, topic="g", create=PLAIN, forked_from=Fork(source, positions[0]))
            assert isinstance(error, InvalidFork), source
        await fork(store, "g", "f", positions[1])
        await fork(store, "h", "a")
        assert await contents(store, "g") == []
        assert await contents(store, "h") == [b"3"]

    # ---- deleting -------------------------------------------------------------------------------------------

    async def test_a_deleted_source_is_gone_and_its_forks_go_on(self, store: Store) -> None:
        await numbered(store, "a", 1, 2)
        await fork(store, "f", "a")
        await delete(store, "a")
        await numbered(store, "f", 3)
        assert await contents(store, "f") == [b"1", b"2", b"3"]
        assert await contents(store, "a") == []
        assert await contents(store) == [b"3"]
        assert await names(store) == ["f"]
        assert await absence(store, "a") is TopicGone
        for refused in (await refusal(store, draft("a")), await refusal(store, topic="a", create=PLAIN)):
            assert isinstance(refused, TopicGone)
        assert isinstance(await refusal(store, topic="g", create=PLAIN, forked_from=Fork("a")), TopicGone)

    async def test_many_topics_are_read_beside_one_that_is_gone(self, store: Store) -> None:
        await numbered(store, "x/gone", 1)
        await fork(store, "f", "x/gone")
        await delete(store, "x/gone")
        await publish_each(store, [draft(f"x/{number}", b"2", tags=("t",)) for number in range(300)])
        for selection in (EVERYTHING, Selection(["x/*"]), Selection(tags=["t"]), Selection(["x/*"], types=["message"])):
            assert {event.data for event in await read_all(store, selection)} == {b"2"}

    async def test_the_last_fork_frees_its_sources_name(self, store: Store) -> None:
        await numbered(store, "a", 1)
        await fork(store, "f", "a")
        await fork(store, "g", "a")
        await delete(store, "a")
        await delete(store, "f")
        assert await absence(store, "a") is TopicGone
        await delete(store, "g")
        assert await absence(store, "a") is TopicNotFound
        assert (await publish(store, draft("a", b"new"), create=ONE)).created
        assert await contents(store, "a") == [b"new"]

    async def test_a_fork_of_a_fork_keeps_the_whole_line(self, store: Store) -> None:
        await numbered(store, "a", 1)
        await fork(store, "f", "a", None, draft("f", b"2"))
        await fork(store, "g", "f", None, draft("g", b"3"))
        await delete(store, "f")
        await delete(store, "a")
        assert await contents(store, "g") == [b"1", b"2", b"3"]
        assert (await absence(store, "a"), await absence(store, "f")) == (TopicGone, TopicGone)
        await delete(store, "g")
        assert (await absence(store, "a"), await absence(store, "f")) == (TopicNotFound, TopicNotFound)
        assert await names(store) == []

    async def test_a_source_that_still_exists_is_not_touched_by_its_last_forks_end(self, store: Store) -> None:
        await numbered(store, "a", 1)
        await fork(store, "f", "a")
        await fork(store, "g", "f")
        await delete(store, "f")
        await delete(store, "g")
        assert await contents(store, "a") == [b"1"]
        assert await absence(store, "f") is TopicNotFound

    async def test_all_can_be_deleted_in_one_step(self, store: Store) -> None:
        deleting = [_delete(topic) for topic in ("a", "f", "g")]
        made = [_entry("a", b"1"), _fork_of("a", "f"), _fork_of("f", "g")]
        for order in (deleting, deleting[::-1]):
            await store.append([*made, *order, *made])
            assert await contents(store, "g") == [b"1"]
            await store.append(order)
            assert [await absence(store, topic) for topic in ("a", "f", "g")] == [TopicNotFound] * 3

    # ---- gaps -----------------------------------------------------------------------------------------------

    async def test_what_was_removed_of_its_source_is_a_gap_in_the_fork(self, store: Store) -> None:
        positions = await numbered(store, "a", 1, 2, 3, 4)
        await fork(store, "f", "a", positions[2])
        await store.configure("a", ONE)
        await sweep_all(store, "a", 0)
        seen = await at(store, positions[0])
        page = await store.read(Selection(["f"]), seen, 10)
        assert page.gap == Gap("removed", seen, await at(store, positions[2]), ("f",))
        for position in (0, positions[2]):
            assert (await store.read(Selection(["f"]), await at(store, position), 10)).gap is None

    async def test_a_deleted_source_is_no_gap_in_its_fork_but_what_was_removed_before_is(self, store: Store) -> None:
        positions = await numbered(store, "a", 1, 2, 3)
        await fork(store, "f", "a")
        await store.configure("a", ONE)
        await sweep_all(store, "a", 0)
        await delete(store, "a")
        assert await self._gap(store, "f", positions[1]) is None
        assert await self._gap(store, "f", positions[0]) == "removed"

    async def test_a_forks_own_retention_is_a_gap_in_it(self, store: Store) -> None:
        positions = await numbered(store, "a", 1)
        await fork(store, "f", "a")
        own = await numbered(store, "f", 2, 3)
        await store.configure("f", ONE)
        await sweep_all(store, "f", 0)
        assert await self._gap(store, "f", positions[0]) == "removed"
        assert await self._gap(store, "f", own[0]) is None
        assert await contents(store, "f") == [b"1", b"3"]

    async def test_an_earlier_topic_of_a_forks_name_is_no_gap(self, store: Store) -> None:
        positions = await numbered(store, "a", 1)
        await numbered(store, "f", 2)
        await delete(store, "f")
        await fork(store, "f", "a")
        assert await self._gap(store, "f", positions[0]) is None

    async def _gap(self, store: Store, topic: str, position: int) -> str | None:
        gap = (await store.read(Selection([topic]), await at(store, position), 10)).gap
        return None if gap is None else gap.reason

    # ---- reopening ------------------------------------------------------------------------------------------

    async def test_forks_and_what_is_kept_for_them_survive(self, store: Store, clock: Clock) -> None:
        if not store.capabilities.survives:
            pytest.skip("the log does not outlive the process, and says so")
        await numbered(store, "a", 1)
        await fork(store, "f", "a", None, draft("f", b"2"))
        await delete(store, "a")
        info = await store.describe("f")
        store = await self.reopen(store, clock)
        try:
            assert await store.describe("f") == info
            assert await contents(store, "f") == [b"1", b"2"]
            assert await absence(store, "a") is TopicGone
            await delete(store, "f")
            assert await absence(store, "a") is TopicNotFound
        finally:
            await store.aclose()

    async def test_a_cursor_of_another_epoch_is_told_so_in_a_fork(self, store: Store) -> None:
        await numbered(store, "a", 1)
        await fork(store, "f", "a")
        tip = await store.tip()
        gap = (await store.read(Selection(["f"]), Cursor(tip.epoch + 1, 1), 10)).gap
        assert gap is not None
        assert gap.reason == "epoch"


def _entry(topic: str, data: bytes) -> Entry:
    return entry(draft(topic, data))


def _fork_of(source: str, topic: str) -> Entry:
    return entry(topic=topic, create=PLAIN, forked_from=Fork(source))


def _delete(topic: str) -> Entry:
    return entry(topic=topic, delete=True)
