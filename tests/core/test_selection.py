"""Selections: one form for one meaning, and what they match."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.core.event import Event
from tailrace.core.filter import Filter
from tailrace.core.selection import MAX_TOPICS, Selection
from tailrace.errors import InvalidEvent, InvalidParameter, InvalidPattern

names = st.sampled_from(["a", "b", "a/b", "b/a", "$x", "$x/a"])
patterns = st.one_of(names, st.sampled_from(["*", "**", "a/*", "a/**", "**/a", "$x/*", "$x/**"]))


class Fake(Filter):
    """A filter that passes one key."""

    def __init__(self, key: str) -> None:
        self.canonical = key

    def matches(self, event: Event) -> bool:
        return event.key == self.canonical


def event(topic: str = "a", kind: str = "message", tags: tuple[str, ...] = (), key: str | None = None) -> Event:
    return Event(
        position=2,
        entry=2,
        recorded_at=0,
        topic=topic,
        data=b"",
        type=kind,
        content_type=None,
        id="1-2",
        source="s",
        time="t",
        key=key,
        tags=tags,
        extensions=None,
        expires_at=None,
    )


# ---- the canonical form -------------------------------------------------------------------------------------


@given(st.permutations(["a", "b/*", "c/**", "a"]), st.permutations(["t", "u", "t"]), st.permutations(["x", "y", "x"]))
def test_order_and_repetition_make_no_difference(topics: list[str], types: list[str], tags: list[str]) -> None:
    one, other = Selection(topics, types, tags), Selection(["a", "b/*", "c/**"], ["t", "u"], ["x", "y"])
    assert one == other
    assert hash(one) == hash(other)
    assert one.key == other.key


@pytest.mark.parametrize(
    ("given_topics", "canonical"),
    [
        (["**", "a", "a/*", "b/**"], ("**",)),
        (["a/*", "a/1", "a/1/2"], ("a/*", "a/1/2")),
        (["a/**", "a", "a/b/c"], ("a/**",)),
        (["**", "$x/*"], ("$x/*", "**")),
        (["$x/*", "$x/a", "$y"], ("$x/*", "$y")),
        (["*", "a"], ("*",)),
    ],
)
def test_what_a_pattern_covers_is_left_out(given_topics: list[str], canonical: tuple[str, ...]) -> None:
    assert Selection(given_topics).topics == canonical
    assert Selection(given_topics) == Selection(canonical)


@given(st.lists(patterns, min_size=1, max_size=4), names)
def test_the_canonical_form_selects_the_same(topics: list[str], name: str) -> None:
    assert Selection(topics).includes(name) == any(Selection([topic]).includes(name) for topic in topics)


@given(st.lists(patterns, min_size=1, max_size=3), st.lists(patterns, min_size=1, max_size=3), names)
def test_equal_keys_select_the_same(one: list[str], other: list[str], name: str) -> None:
    first, second = Selection(one), Selection(other)
    if first.key == second.key:
        assert first.includes(name) == second.includes(name)


def test_selections_that_differ_in_anything_are_different() -> None:
    different = [
        Selection(["a"]),
        Selection(["b"]),
        Selection(["a"], types=["x"]),
        Selection(["a"], tags=["x"]),
        Selection(["a"], filter=Fake("k")),
        Selection(["a"], filter=Fake("l")),
        Selection(["a"], within=["a"]),
        Selection(["a"], types=["x"], tags=["y"]),
        Selection(["a"], types=["y"], tags=["x"]),
    ]
    assert len({selection.key for selection in different}) == len(set(different)) == len(different)


def test_a_selection_is_no_other_thing() -> None:
    assert Selection(["a"]) != Selection(["a"]).key
    assert repr(Selection(["a"])) == 'Selection([["a"],[],[],null,[]])'


# ---- what matches -------------------------------------------------------------------------------------------


def test_topics_and_types_are_any_of_and_tags_all_of() -> None:
    selection = Selection(["a", "b/*"], types=["t", "u"], tags=["x", "y"])
    assert selection.matches(event("a", "t", ("x", "y")))
    assert selection.matches(event("b/1", "u", ("y", "z", "x")))
    assert not selection.matches(event("c", "t", ("x", "y")))
    assert not selection.matches(event("a", "v", ("x", "y")))
    assert not selection.matches(event("a", "t", ("x",)))


def test_a_selection_by_topic_alone_asks_nothing_else() -> None:
    assert Selection(["a"]).matches(event("a", "t", ("x",), "k"))
    assert not Selection(["a"]).matches(event("b"))


def test_a_filter_has_the_last_word() -> None:
    selection = Selection(["a"], filter=Fake("k"))
    assert selection.matches(event("a", key="k"))
    assert not selection.matches(event("a", key="l"))
    assert not selection.matches(event("b", key="k"))


def test_within_narrows_the_topics() -> None:
    selection = Selection(["**"], within=["a/**", "b"])
    assert [name for name in ("a", "a/1", "b", "b/1", "c") if selection.includes(name)] == ["a", "a/1", "b"]
    assert not selection.matches(event("c"))


def test_everything_is_every_topic_but_the_servers_own() -> None:
    assert Selection().everything
    assert not Selection().includes("$system/x")
    for other in (
        Selection(["a/**"]),
        Selection(["**", "$x/**"]),
        Selection(types=["t"]),
        Selection(tags=["x"]),
        Selection(filter=Fake("k")),
        Selection(within=["a"]),
    ):
        assert not other.everything


def test_a_selection_is_exact_if_every_topic_is_named_in_full() -> None:
    assert Selection(["a", "b/c"]).exact
    assert not Selection(["a", "b/*"]).exact


def test_a_selection_forgets_before_it_remembers_too_many_topics() -> None:
    selection = Selection(["a/*"])
    for number in range(10_001):
        assert selection.includes(f"a/{number}")
        assert not selection.includes(f"b/{number}")
    assert len(selection._includes) <= 10_000


# ---- what is refused ----------------------------------------------------------------------------------------


def test_a_selection_needs_a_topic() -> None:
    with pytest.raises(InvalidPattern, match="at least one"):
        Selection([])


def test_a_selection_has_a_bound() -> None:
    assert len(Selection([f"t/{number}" for number in range(MAX_TOPICS)]).topics) == MAX_TOPICS
    with pytest.raises(InvalidPattern, match="1001 topics is too long"):
        Selection([f"t/{number}" for number in range(MAX_TOPICS + 1)])


def test_bad_patterns_and_types_are_refused() -> None:
    with pytest.raises(InvalidPattern):
        Selection(["a*"])
    with pytest.raises(InvalidPattern):
        Selection(within=["a*"])
    with pytest.raises(InvalidEvent):
        Selection(types=["tailrace.open"])


def test_what_people_write_becomes_a_selection() -> None:
    assert Selection.of() == Selection()
    rule = {"path": "/n", "gt": 1}
    written = Selection.of(("a",), ["x"], ["t"], rule)
    assert written == Selection(["a"], ["x"], ["t"], Filter.parse(rule))
    assert written == Selection.of(["a"], ["x"], ["t"], '{"path": "/n", "gt": 1}')
    assert written == Selection.of(["a"], ["x"], ["t"], Filter.parse(rule))


@pytest.mark.parametrize("name", ["types", "tags"])
def test_a_text_where_a_list_belongs_is_refused_and_not_taken_letter_by_letter(name: str) -> None:
    with pytest.raises(InvalidParameter, match=f"{name} is the text 'xyz': give a list of texts"):
        Selection.of(["a"], **{name: "xyz"})
