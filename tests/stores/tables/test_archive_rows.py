"""A whole log as rows: what is put comes back, and pages of memories follow one another."""

from __future__ import annotations

from tailrace.core.event import Draft, format_time
from tailrace.core.position import Cursor
from tailrace.core.producer import ProducerState
from tailrace.core.retention import TopicConfig
from tailrace.log.archive import Descent, KnownId, KnownKey, KnownProducer, Living, TopicState
from tailrace.stores.tables.archive_rows import (
    Bookmark,
    IdRow,
    KeyRow,
    MemoryRow,
    Owner,
    ProducerRow,
    StateRow,
    attributes,
    memory_row,
    state_rows,
)


def safe(text: str) -> str:
    return f"<{text}>"


def plain(text: str) -> str:
    return text[1:-1]


def same(text: str | None) -> str | None:
    return text


# ---- topics -----------------------------------------------------------------------------------------------

LIVING = Living(config=TopicConfig(), created_at=1, touched_at=2, tail=3, events=4, size=5)


def test_new_names_get_new_ids_and_known_ones_keep_theirs() -> None:
    states = [TopicState(name=name, living=LIVING) for name in ("a", "b", "c")]
    rows = state_rows(states, {"b": Owner("b", 4, 4)}, 7, same)
    assert [(row[1], row[0], row[-1]) for row in rows.topics] == [("a", 8, None), ("b", 4, None), ("c", 9, None)]
    assert (rows.kept, rows.descents) == ([], [])


def test_a_gone_topic_has_another_id_for_what_it_owns_and_both_stay_when_it_is_put_again() -> None:
    gone = TopicState(name="a", deleted_at=6, kept_through=2, descent=Descent("b", 3, 0, 4))
    rows = state_rows([gone, TopicState(name="b", living=LIVING)], {}, 0, same)
    assert [(row[1], row[0], row[-1]) for row in rows.topics] == [("a", 2, 1), ("b", 3, None)]
    assert rows.kept == [(1, "a", 2)]
    assert rows.descents == [(1, "b", 3, 0, 4)]
    again = state_rows([gone], {"a": Owner("a", 2, 1)}, 3, same)
    assert (again.topics, again.kept) == (rows.topics[:1], rows.kept)


def test_a_topic_that_was_known_and_is_gone_now_keeps_its_id_for_its_events() -> None:
    rows = state_rows([TopicState(name="a", deleted_at=6, kept_through=2)], {"a": Owner("a", 4, 4)}, 7, same)
    assert (rows.topics[0][0], rows.topics[0][-1], rows.kept) == (8, 4, [(4, "a", 2)])


def test_a_row_is_a_topic_only_if_it_lives() -> None:
    row = StateRow("a", 1, 2, 3, 1, "{}", 4, 5, 6, 7, 8, 1, "q", None, "b", 9, 10, 11)
    state = row.state(TopicConfig(), "q")
    assert state.living == Living(
        config=TopicConfig(), created_at=4, touched_at=5, tail=6, events=7, size=8, closed=True, stream_seq="q"
    )
    assert state.descent == Descent("b", 9, 10, 11)
    left = row._replace(live=0, source=None, kept_through=2).state(TopicConfig(), None)
    assert left == TopicState(name="a", removed_through=1, compacted_through=2, deleted_at=3, kept_through=2)


# ---- events -----------------------------------------------------------------------------------------------


def test_the_usual_is_not_kept_and_texts_are_kept_safe() -> None:
    usual = Draft(topic="a", data=b"1").placed(Cursor(2, 5), 5, 9, format_time(9))
    assert attributes(usual, 2, safe) == (None,) * 9
    assert attributes(usual, 3, safe)[2] == "<2-5>", "it was named in another epoch than it is looked for"
    other = Draft(topic="a", data=b"1", type="t", id="i", source="s", key="k", tags=("g",), content_type=None)
    kept = attributes(other.placed(Cursor(2, 5), 5, 9, format_time(9)), 2, safe)
    assert kept == (None, "<t>", "<i>", "<s>", None, "<k>", '["<g>"]', None, "<>")


# ---- memories ---------------------------------------------------------------------------------------------


def test_memories_are_read_as_they_were_put() -> None:
    producer = KnownProducer("a", "p", ProducerState(1, 2, 3, 4, 5))
    assert memory_row(producer, 7, safe) == ("producers", (7, "<p>"), (1, 2, 3, 4, 5))
    assert ProducerRow(7, "<p>", "a", 1, 2, 3, 4, 5).memory(plain) == producer
    key = KnownKey("a", "k", 1, 2, 3, 4)
    assert memory_row(key, 7, safe) == ("receipts", (7, "<k>"), (1, 2, 3, 4))
    assert KeyRow(7, "<k>", "a", 1, 2, 3, 4).memory(plain) == key
    name = KnownId("a", "s", "i", 1, 2)
    assert memory_row(name, 7, safe) == ("ids", (7, "<s>", "<i>"), (1, 2))
    assert IdRow(7, "<s>", "<i>", "a", 1, 2).memory(plain) == name


def test_the_source_that_events_of_a_topic_have_anyhow_is_not_kept() -> None:
    name = KnownId("a", "/topics/a", "i", 1, 2)
    assert memory_row(name, 7, safe) == ("ids", (7, "", "<i>"), (1, 2))
    assert IdRow(7, "", "<i>", "a", 1, 2).memory(plain) == name


def test_pages_of_memories_go_through_all_kinds() -> None:
    kept: dict[str, list[MemoryRow]] = {
        "producers": [ProducerRow(1, f"<{number}>", "a", 1, 2, 3, 4, 5) for number in range(5)],
        "receipts": [],
        "ids": [IdRow(1, "", f"<{number}>", "a", 1, 2) for number in range(2)],
    }
    asked: list[str] = []
    bookmark: str | None = ""
    while bookmark is not None:
        mark = Bookmark.parse(bookmark)
        width = len(mark.kind.start)
        found = [row for row in kept[mark.kind.name] if row[:width] > mark.after][:2]  # type: ignore[operator] # keys
        page = mark.page(found, 2, plain)
        asked += [f"{mark.kind.name} {one.id}" for one in page.found if not isinstance(one, KnownKey)]
        bookmark = page.bookmark
    assert asked == [*[f"producers {number}" for number in range(5)], "ids 0", "ids 1"]
