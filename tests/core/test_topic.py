"""Topics, and patterns against a matcher that tries everything."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tailrace.core.topic import (
    MAX_BYTES,
    MAX_SEGMENTS,
    check_pattern,
    check_topic,
    is_pattern,
    literal_prefix,
    matcher,
    name_range,
)
from tailrace.errors import InvalidPattern, InvalidTopic

GOOD_TOPICS = [
    *(
        "a",
        "orders/42",
        "a b",
        "größe/数据",
        "\U0001f600",
        "a.b",
        "...",
        "a..",
        "-",
        "__dsx",
        "a/__ds",
        "a/$x",
        "+",
        "é",
    ),
    "/".join("a" * MAX_SEGMENTS),
    "a" * MAX_BYTES,
    "ü" * (MAX_BYTES // 2),
]
BAD_TOPICS = [
    *("", "/", "/a", "a/", "a//b", ".", "..", "a/./b", "a/..", "a,b", "a*", "*", "a?b", "#", "a\nb", "a\0", "a\x7f"),
    *("a\x85", "a\u2028b", "a\u2029b", "\ud800"),
    "/".join("a" * (MAX_SEGMENTS + 1)),
    "a" * (MAX_BYTES + 1),
    "ü" * (MAX_BYTES // 2) + "a",
]
segments = st.sampled_from(["a", "b", "ab", "$x", "(.)"])
topics = st.lists(segments, min_size=1, max_size=6).map("/".join)
patterns = st.lists(st.one_of(segments, st.sampled_from(["*", "**"])), min_size=1, max_size=6).map("/".join)


def matches(pattern: list[str], topic: list[str]) -> bool:
    """Try every way to divide the topic."""
    if not pattern:
        return not topic
    if pattern[0] == "**":
        return any(matches(pattern[1:], topic[taken:]) for taken in range(len(topic) + 1))
    return bool(topic) and pattern[0] in ("*", topic[0]) and matches(pattern[1:], topic[1:])


def selected(pattern: str, topic: str) -> bool:
    """What the documentation says: matching by segments, and `$…` only for those that start so themselves."""
    if topic.startswith("$") and not pattern.startswith("$"):
        return False
    return matches(pattern.split("/"), topic.split("/"))


# ---- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOOD_TOPICS)
def test_a_topic_is_a_path_of_segments(name: str) -> None:
    assert check_topic(name) == name
    assert check_pattern(name) == name
    assert not is_pattern(name)


@pytest.mark.parametrize("name", BAD_TOPICS, ids=ascii)
def test_what_is_not_a_topic_is_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(InvalidTopic) as caught:
        check_topic(name)
    sentence = caught.value.sentence
    assert sentence.endswith(".")
    assert len(sentence) < 250
    sentence.encode()  # a sentence about bad Unicode is good Unicode


def test_a_sentence_says_which_character_is_wrong_and_where() -> None:
    with pytest.raises(InvalidTopic, match=re.escape("'?' cannot be part")) as caught:
        check_topic("orders?id=1")
    assert caught.value.extra == {"at": 6}


@pytest.mark.parametrize("name", ["$system/x", "$", "__ds", "__ds/x", "$dead"])
def test_the_servers_own_topics_are_reserved(name: str) -> None:
    with pytest.raises(InvalidTopic, match="reserved"):
        check_topic(name)
    assert check_topic(name, reserved=True) == name
    assert check_pattern(name) == name


@pytest.mark.parametrize("pattern", ["*", "**", "a/*", "**/a/*/**", "$system/**", "*/" * 31 + "*"])
def test_stars_fill_whole_segments(pattern: str) -> None:
    assert check_pattern(pattern) == pattern
    assert is_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["a*", "*a", "a/b*/c", "***", "a/***", "**a", "*?", "", "a//*", "*/", "a,b", "\ud800*"]
)
def test_what_is_not_a_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidPattern):
        check_pattern(pattern)


# ---- matching -----------------------------------------------------------------------------------------------


@given(patterns, topics)
@example("**/a/**/b", "a/b/a/a/b")
@example("**/a/*", "a/a/b")
@example("**/**", "a")
@example("a/**", "a")
@example("**", "$x")
@example("*/a", "$x/a")
@example("$x/**", "$x")
@example("**/b/*/**/b", "b/a/b/a/b")
def test_a_pattern_selects_what_trying_everything_says(pattern: str, topic: str) -> None:
    assert bool(matcher(pattern)(topic)) == selected(pattern, topic)


@given(patterns, topics)
def test_every_selected_topic_starts_with_the_literal_prefix(pattern: str, topic: str) -> None:
    if selected(pattern, topic):
        assert topic.startswith(literal_prefix(pattern))


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [("orders/*", "orders/"), ("orders/**", "orders"), ("**", ""), ("*", ""), ("a/b", "a/b"), ("a/*/b/**", "a/")],
)
def test_the_literal_prefix_is_as_long_as_can_be(pattern: str, prefix: str) -> None:
    assert literal_prefix(pattern) == prefix


near_names = st.text("ab/-\uffff\U0010ffff\ud7ff\ue000", min_size=1, max_size=6)


@given(prefix=near_names, rest=near_names, wildcard=st.sampled_from(["*", "**"]))
def test_thenear_names_of_a_pattern_lie_between_its_bounds(prefix: str, rest: str, wildcard: str) -> None:
    pattern = f"{prefix}/{wildcard}"
    low, high = name_range(pattern)
    assert low == literal_prefix(pattern)
    for name in (f"{prefix}/{rest}", low + "\U0010ffff\U0010ffff"):
        assert low <= name
        assert high is None or name < high
    if high is not None:
        assert not high.startswith(low)


@pytest.mark.parametrize(("pattern", "bounds"), [("a", ("a", "a\x01")), ("**", ("", None)), ("a/*", ("a/", "a0"))])
def test_bounds_are_as_narrow_as_can_be(pattern: str, bounds: tuple[str, str | None]) -> None:
    assert name_range(pattern) == bounds


@pytest.mark.parametrize("runs", [["a"], ["a", "a"], ["*", "a"], ["a", "*"]], ids="/".join)
def test_many_double_stars_do_not_try_every_way(runs: list[str]) -> None:
    """With backtracking these would take longer than the age of the universe, so it is enough that they end."""
    count = (MAX_SEGMENTS - 1) // (len(runs) + 1)
    pattern = check_pattern("/".join(["**", *runs] * count + ["b"]))
    path = ["a"] * (MAX_SEGMENTS - 1)
    assert matcher(pattern)("/".join([*path, "b"]))
    assert not matcher(pattern)("/".join([*path, "c"]))
    assert matcher("**/" * 31 + "b")("/".join([*path, "b"]))


def test_nothing_in_a_pattern_is_a_regular_expression() -> None:
    assert not matcher("a.c/*")("abc/x")
    assert matcher("(a|b)/*")("(a|b)/x")
    assert not matcher("a/*")("a/b\n/c")
