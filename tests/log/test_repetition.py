"""What stores answer again."""

from __future__ import annotations

import pytest

from tailrace.core.event import Draft
from tailrace.core.producer import Producer, ProducerState, Verdict
from tailrace.core.retention import TopicConfig
from tailrace.errors import ProducerGap, StaleProducer, TailraceError, TopicClosed
from tailrace.log.judging import closed
from tailrace.log.repetition import NOTHING, Answer, Place, is_remembered, repeated, without_repeated
from tailrace.testing.cases import PRODUCER_CASES, ProducerCase

KNOWN = ProducerState(2, 7, 31, 32, 2)


@pytest.mark.parametrize(
    ("age", "window", "remembered"), [(0, 1, True), (999, 1, True), (1000, 1, False), (0, 0, False)]
)
def test_a_memory_lasts_for_less_than_the_window(age: int, window: float, remembered: bool) -> None:
    assert is_remembered(5000, 5000 + age, TopicConfig(dedupe_window_seconds=window)) is remembered


@pytest.mark.parametrize("case", PRODUCER_CASES, ids=str)
def test_a_producers_claim_is_answered_as_judged(case: ProducerCase) -> None:
    refusals: dict[Verdict, type[TailraceError]] = {Verdict.GAP: ProducerGap, Verdict.STALE: StaleProducer}
    if case.verdict not in refusals:
        assert (repeated(case.claim, case.state, None) is not None) is (case.verdict is Verdict.DUPLICATE)
        return
    with pytest.raises(refusals[case.verdict]) as caught:
        repeated(case.claim, case.state, None)
    if case.verdict is Verdict.GAP:
        known = None if case.state is None else case.state.epoch
        assert caught.value.extra == {"expected": case.expected, "received": case.claim.sequence, "epoch": known}
    else:
        assert case.state is not None
        assert caught.value.extra == {"epoch": case.state.epoch}


def test_the_newest_claim_is_told_where_its_events_went_and_older_ones_are_not() -> None:
    assert repeated(Producer("p", 2, 7), KNOWN, None) == Answer(0, 31, 32, 2)
    assert repeated(Producer("p", 2, 6), KNOWN, None) == NOTHING


def test_a_closed_topic_refuses_what_it_has_not_had_before() -> None:
    shut = closed("done", 32, 32)
    assert repeated(Producer("p", 2, 7), KNOWN, shut) is not None
    for claim in (Producer("p", 2, 8), Producer("p", 2, 9), Producer("p", 1, 0)):
        with pytest.raises(TopicClosed):
            repeated(claim, KNOWN, shut)


def draft(id_: str | None, topic: str = "t") -> Draft:
    return Draft(topic=topic, data=b"1", id=id_)


def test_drafts_without_an_id_are_never_repetitions() -> None:
    drafts = [draft(None), draft(None)]

    def find(_: Draft) -> tuple[TopicConfig, Place | None]:
        raise AssertionError("there is nothing to ask")

    assert without_repeated(drafts, 1000, find) == (drafts, None)


def test_what_is_known_by_its_id_is_left_out_and_the_rest_goes_in_once() -> None:
    places = {"known": Place(900, 5), "old": Place(-200_000, 4)}
    config = TopicConfig(dedupe_window_seconds=1)
    drafts = [draft("known"), draft("old"), draft("new"), draft("new"), draft("new", "other"), draft(None)]
    left, again = without_repeated(drafts, 1000, lambda one: (config, places.get(one.id or "")))
    assert left == [draft("old"), draft("new"), draft("new", "other"), draft(None)]
    assert again is None


def test_if_all_are_known_the_answer_tells_where_they_stand() -> None:
    places = {"a": Place(900, 5), "b": Place(950, 9)}
    left, again = without_repeated(
        [draft("b"), draft("a"), draft("b")], 1000, lambda one: (TopicConfig(), places.get(one.id or ""))
    )
    assert (left, again) == ([], Answer(1000, 5, 9, 2))


def test_a_topic_without_a_window_takes_the_same_id_each_time() -> None:
    drafts = [draft("a"), draft("a")]
    left, again = without_repeated(drafts, 1000, lambda _: (TopicConfig(dedupe_window_seconds=0), Place(1000, 5)))
    assert (left, again) == (drafts, None)
