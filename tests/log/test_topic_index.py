"""The index of topics finds who is concerned, as the patterns' own rules have it, and leaves nothing behind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tailrace.core.topic import matcher
from tailrace.log.topic_index import TopicIndex

SEGMENT = st.sampled_from(["a", "b", "$x"])
TOPIC = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)
PATTERN = st.lists(st.sampled_from(["a", "b", "$x", "*", "**"]), min_size=1, max_size=4).map("/".join)


@given(st.lists(st.lists(PATTERN, min_size=1, max_size=3, unique=True), max_size=8), TOPIC)
def test_it_finds_those_whose_patterns_match(items: list[list[str]], topic: str) -> None:
    index: TopicIndex[int] = TopicIndex()
    for number, patterns in enumerate(items):
        index.add(patterns, number)
    wanted = {n for n, patterns in enumerate(items) if any(matcher(pattern)(topic) for pattern in patterns)}
    assert set(index.find(topic)) == wanted


@given(st.lists(st.lists(PATTERN, min_size=1, max_size=3, unique=True), max_size=8), st.randoms())
def test_nothing_is_left_of_those_who_were_removed(items: list[list[str]], chance: st.randoms) -> None:
    index: TopicIndex[int] = TopicIndex()
    numbers = list(range(len(items)))
    for number in numbers:
        index.add(items[number], number)
    chance.shuffle(numbers)
    for number in numbers:
        index.remove(items[number], number)
    assert index._exact == {}
    assert index._root.edges == {}


def test_those_who_share_a_topic_are_found_and_removed_one_by_one() -> None:
    index: TopicIndex[str] = TopicIndex()
    for item in ("one", "two", "three"):
        index.add(["a"], item)
    index.remove(["a"], "two")
    assert list(index.find("a")) == ["one", "three"]
    index.remove(["a"], "one")
    index.remove(["a"], "three")
    assert list(index.find("a")) == []
