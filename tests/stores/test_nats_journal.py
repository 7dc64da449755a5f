"""Records are read as they were written; subjects tell topics; parts become records again, or are passed over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.core.condition import Condition
from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.core.topic import check_topic
from tailrace.errors import InvalidTopic
from tailrace.log.store import Entry, Fork
from tailrace.stores.nats.journal import (
    Append,
    Assembly,
    Command,
    Configure,
    Part,
    RaiseEpoch,
    Record,
    Sweep,
    Touch,
    decode,
    encode,
    escape,
    split,
    subject_of,
    unescape,
)


def is_topic(text: str) -> bool:
    try:
        check_topic(text)
    except InvalidTopic:
        return False
    return True


def record(command: Command) -> Record:
    return Record("log", "node", 7, "before", 1_790_000_000_000, command)


@pytest.mark.parametrize(
    "command",
    [
        Append(
            [
                Entry(
                    topic="a",
                    drafts=[Draft(topic="a", data=b"\0\xff", tags=("x",), extensions={"n": 1, "b": True}, id="1")],
                    create=TopicConfig(idle_seconds=3),
                    forked_from=Fork("b", 4, 1),
                    producer=Producer("p", 1, 2),
                    condition=Condition(Selection(["a", "b/*"], ["t"], ["x"]), Cursor(3, 9)),
                    idempotency_key="k",
                    close=True,
                ),
                Entry(topic="c", delete=True),
            ]
        ),
        Configure("a", TopicConfig(content_type="text/plain")),
        Sweep("a", 5, 6),
        Touch({"a": 1}),
        RaiseEpoch(4, None),
    ],
)
def test_a_record_is_read_as_it_was_written(command: Command) -> None:
    told = decode(encode(record(command)))
    assert encode(told) == encode(record(command))
    assert type(told.command) is type(command)


@given(st.text(min_size=1, max_size=60).filter(is_topic))
def test_a_subject_tells_its_topic(topic: str) -> None:
    subject = escape(topic)
    assert unescape(subject) == topic
    assert not set(subject) & set(" *>\t\r\n")
    assert subject.isascii()
    assert all(subject.split("."))


def test_segments_of_a_topic_are_tokens_of_its_subject() -> None:
    assert escape("orders/4.2/a b") == "orders.4%2E2.a%20b"


def test_what_is_about_one_topic_stands_below_it_and_the_rest_in_one_place() -> None:
    one, other = Draft(topic="a/b", data=b""), Draft(topic="c", data=b"")
    assert subject_of("log", Append([Entry(topic="a/b", drafts=[one])])) == "log.e.a.b"
    assert subject_of("log", Append([Entry(topic="a/b", drafts=[one, other])])) == "log.c"
    assert subject_of("log", Sweep("a", 0, 1)) == "log.c"


def part(sequence: int, index: int, batch: str, *, last: bool = False) -> Part:
    return Part(sequence, f"{batch}{index}".encode(), "n", batch, index, last)


def test_parts_become_the_record_again() -> None:
    data = bytes(range(256)) * 5
    pieces = split(data, 500)
    assert max(len(one) for one in pieces) == 500
    assembly = Assembly()
    for index, piece in enumerate(pieces, 1):
        whole = assembly.add(Part(index, piece, "n", "b", index, index == len(pieces)))
    assert whole == data


def test_a_record_without_its_end_is_passed_over() -> None:
    assembly = Assembly()
    assert assembly.add(part(1, 1, "x")) is None
    assert assembly.add(part(2, 1, "y")) is None
    assert assembly.add(part(3, 2, "y", last=True)) == b"y1y2"
    assert assembly.add(Part(4, b"whole")) == b"whole"


def test_a_record_without_its_beginning_is_passed_over() -> None:
    assembly = Assembly()
    assert assembly.add(part(1, 2, "x", last=True)) is None
    assert assembly.add(part(2, 1, "x")) is None
    assert assembly.add(part(3, 3, "x", last=True)) is None
    assert assembly.add(part(4, 2, "x", last=True)) is None
