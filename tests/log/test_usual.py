"""What a draft leaves to the log."""

from __future__ import annotations

import msgspec
import pytest

from tailrace.core.event import Draft
from tailrace.log.usual import is_usual, stored_source

USUAL = Draft(topic="a", data=b"1")


def test_a_draft_that_says_nothing_leaves_everything_to_the_log() -> None:
    assert is_usual(USUAL)


@pytest.mark.parametrize(
    "said",
    [
        *({"type": "t"}, {"content_type": None}, {"key": "k"}, {"id": "i"}, {"source": "s"}),
        *({"time": "2026-01-01T00:00:00Z"}, {"expires_at": 1}, {"tags": ("g",)}, {"extensions": {}}),
    ],
    ids=lambda said: next(iter(said)),
)
def test_whatever_a_draft_says_must_be_kept(said: dict[str, object]) -> None:
    assert not is_usual(msgspec.structs.replace(USUAL, **said))


def test_the_source_that_follows_from_the_topic_is_not_kept() -> None:
    assert stored_source(USUAL) == ""
    assert stored_source(msgspec.structs.replace(USUAL, source="/topics/a")) == ""
    assert stored_source(msgspec.structs.replace(USUAL, source="/topics/b")) == "/topics/b"
