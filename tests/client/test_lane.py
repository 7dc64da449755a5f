"""The lane: what is sent next, whatever came of the last request, against a server that is a few lines of model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.client.answers import Answer, Broken, Lost, Misused, Stored
from tailrace.client.lane import Batching, Keyed, Lane, Lines, Parcel, Request, Terms
from tailrace.client.reconnect import GaveUp, NotUnderstood, Refused, Rejected
from tailrace.core.event import Draft
from tailrace.core.producer import Producer, ProducerState, Verdict, judge
from tailrace.core.receipt import Receipt

DROPPED = Lost("cut", sent=True)
BATCHING = Batching()
UNREACHED = Lost("no connection", sent=False)


class Nobody:
    def settled(self) -> None:
        pass


def make(*, max_retries: int | None = None, renewable: bool = False, batching: Batching = BATCHING) -> Lane:
    return Lane("t", Terms("p", batching, max_retries, renewable))


def put(lane: Lane, *contents: object, **attributes: str) -> list[Parcel]:
    parcels = [
        Parcel(
            Draft(topic="t", data=b"%d" % content, **attributes) if isinstance(content, int) else content,  # type: ignore[arg-type]  # what a test puts in
            Nobody(),
        )
        for content in contents
    ]
    for parcel in parcels:
        lane.add(parcel)
    return parcels


def sent(lane: Lane) -> Request:
    request = lane.next()
    assert request is not None
    return request


def number(request: Request) -> tuple[str, str]:
    return request.headers["producer-epoch"], request.headers["producer-seq"]


def stored(first: int, count: int = 1, *, duplicate: bool = False) -> Stored:
    return Stored(Receipt(f"1-{first}", f"1-{first + count - 1}", count, duplicate, "fsync"))


def refusal(status: int, code: str = "", *, again: bool = False, after: float | None = None) -> Refused:
    return Refused(status, "No.", after, code or None, again if status >= 500 else None)


def error(parcel: Parcel) -> Exception:
    assert isinstance(parcel.outcome, Exception)
    return parcel.outcome


# ---- what goes together -----------------------------------------------------------------------------------


def test_what_is_published_meanwhile_gathers_for_the_next_request() -> None:
    lane = make()
    put(lane, 1)
    first = sent(lane)
    put(lane, 2, 3)
    assert sent(lane) is first
    lane.answered(stored(5), 0)
    second = sent(lane)
    assert second.body == b'{"data":2}\n{"data":3}'
    assert second.target == "/topics/t/events?format=envelope"


def test_a_lone_event_is_a_request_of_its_own_data() -> None:
    lane = make()
    put(lane, 1, type="x")
    request = sent(lane)
    assert (request.target, request.body, request.headers["ce-type"]) == ("/topics/t/events", b"1", "x")


def test_each_of_a_batch_gets_its_own_cursor() -> None:
    lane = make()
    parcels = put(lane, 1, 2)
    sent(lane)
    lane.answered(stored(7, 2), 0)
    assert [parcel.outcome for parcel in parcels] == [
        Receipt("1-7", "1-7", 1, False, "fsync"),
        Receipt("1-8", "1-8", 1, False, "fsync"),
    ]


@pytest.mark.parametrize(
    "receipt",
    [
        Receipt("1-7", "1-9", 2, False, "fsync"),
        Receipt("1-7", "1-7", 1, False, "fsync"),
        Receipt(None, None, 0, True, "fsync"),
    ],
)
def test_if_places_cannot_be_told_each_gets_the_batchs_receipt(receipt: Receipt) -> None:
    lane = make()
    parcels = put(lane, 1, 2)
    sent(lane)
    lane.answered(Stored(receipt), 0)
    assert [parcel.outcome for parcel in parcels] == [receipt, receipt]


def test_duplicates_by_their_ids_may_stand_in_any_order_and_get_no_places() -> None:
    lane = make()
    parcels = put(lane, 1, id="a") + put(lane, 2, id="b")
    sent(lane)
    answer = stored(7, 2, duplicate=True)
    lane.answered(answer, 0)
    assert [parcel.outcome for parcel in parcels] == [answer.receipt, answer.receipt]


@pytest.mark.parametrize("batching", [Batching(events=2), Batching(size=2 * 257)])
def test_a_batch_is_bounded_by_events_and_by_bytes(batching: Batching) -> None:
    lane = make(batching=batching)
    put(lane, 1, 2, 3)
    assert len(sent(lane).parcels) == 2
    lane.answered(stored(1, 2), 0)
    assert len(sent(lane).parcels) == 1


def test_a_large_event_goes_alone() -> None:
    lane = make(batching=Batching(size=10))
    put(lane, 1_000_000)
    assert len(sent(lane).parcels) == 1


def test_what_has_a_key_or_is_lines_goes_alone_and_in_its_place() -> None:
    lane = make()
    put(lane, 1, Keyed(Draft(topic="t", data=b"2"), "k"), Lines(b"3\n4", "data"), 5)
    bodies = []
    for first in range(4):
        request = sent(lane)
        bodies.append((request.body, "idempotency-key" in request.headers, request.headers.get("producer-seq")))
        lane.answered(stored(first + 1), 0)
    assert bodies == [(b"1", False, "0"), (b"2", True, None), (b"3\n4", False, "1"), (b"5", False, "2")]


def test_what_was_not_sent_can_be_taken_back() -> None:
    lane = make()
    [first] = put(lane, 1)
    sent(lane)
    [second] = put(lane, 2)
    assert not lane.withdraw(first)
    assert lane.withdraw(second)
    lane.answered(stored(1), 0)
    assert lane.next() is None
    assert lane.is_idle


# ---- what an answer leads to ------------------------------------------------------------------------------


def test_what_was_cut_is_sent_again_as_it_was() -> None:
    lane = make()
    put(lane, 1)
    before = (sent(lane).body, dict(sent(lane).headers))
    assert lane.answered(DROPPED, 1.0).seconds == 0.1
    put(lane, 2)
    assert (sent(lane).body, sent(lane).headers) == before


def test_numbers_go_up_by_one_a_request() -> None:
    lane = make()
    for expected in ("0", "1", "2"):
        put(lane, 1)
        assert number(sent(lane)) == ("0", expected)
        lane.answered(stored(1), 0)


def test_a_refused_request_takes_no_number() -> None:
    lane = make()
    [parcel] = put(lane, 1)
    sent(lane)
    lane.answered(refusal(403, "forbidden"), 0)
    put(lane, 2)
    assert number(sent(lane)) == ("0", "0")
    refused = error(parcel)
    assert isinstance(refused, Rejected)
    assert refused.sentence == "No."
    assert refused.extra == {"status": 403, "code": "forbidden", "in_doubt": False}


def test_a_refusal_of_what_is_in_doubt_says_so_and_leaves_its_number_behind() -> None:
    lane = make()
    [parcel] = put(lane, 1)
    sent(lane)
    lane.answered(DROPPED, 0)
    lane.answered(refusal(403), 0)
    put(lane, 2)
    assert number(sent(lane)) == ("1", "0")
    refused = error(parcel)
    assert isinstance(refused, Rejected)
    assert "It is not known whether it was stored" in refused.sentence
    assert refused.extra["in_doubt"] is True


@pytest.mark.parametrize("before", [(), (DROPPED,)], ids=["sure", "in doubt"])
def test_a_server_that_has_forgotten_the_producer_gets_the_request_in_a_new_epoch(before: tuple[Answer, ...]) -> None:
    lane = make()
    put(lane, 1)
    sent(lane)
    lane.answered(stored(1), 0)
    put(lane, 2)
    sent(lane)
    for answer in before:
        lane.answered(answer, 0)
    lane.answered(refusal(409, "producer_gap"), 0)
    assert number(sent(lane)) == ("1", "0")
    assert sent(lane).body == b"2"


def test_a_stale_producer_goes_on_in_a_later_epoch() -> None:
    lane = make()
    put(lane, 1)
    sent(lane)
    lane.answered(refusal(409, "stale_producer"), 0)
    assert number(sent(lane)) == ("1", "0")


def test_a_stale_producer_in_doubt_fails() -> None:
    lane = make()
    [parcel] = put(lane, 1)
    sent(lane)
    lane.answered(DROPPED, 0)
    lane.answered(refusal(409, "stale_producer"), 0)
    assert isinstance(parcel.outcome, Rejected)
    assert parcel.outcome.extra["in_doubt"] is True


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_only_the_culprit_of_a_batch_fails(status: int) -> None:
    lane = make()
    parcels = put(lane, 1, 2, 3, 4, 5)
    order: list[bytes] = []
    while (request := lane.next()) is not None:
        if b"4" in request.body:
            lane.answered(refusal(status), 0)
        else:
            order.append(request.body)
            lane.answered(stored(len(order) * 10, len(request.parcels)), 0)
    assert [isinstance(parcel.outcome, Rejected) for parcel in parcels] == [False, False, False, True, False]
    assert b"".join(order) == b'{"data":1}\n{"data":2}35'


def test_a_duplicate_of_more_than_the_half_has_is_the_whole_that_was_in_doubt() -> None:
    lane = make()
    parcels = put(lane, 1, 2, 3)
    sent(lane)
    lane.answered(DROPPED, 0)
    lane.answered(refusal(413), 0)
    assert sent(lane).body == b"1"
    lane.answered(stored(7, 3, duplicate=True), 0)
    assert [parcel.outcome.first for parcel in parcels if isinstance(parcel.outcome, Receipt)] == ["1-7", "1-8", "1-9"]
    assert lane.is_idle


def test_a_content_refused_in_doubt_is_refused_for_sure_and_its_number_left_behind() -> None:
    lane = make()
    [parcel] = put(lane, 1)
    sent(lane)
    lane.answered(DROPPED, 0)
    lane.answered(refusal(413), 0)
    put(lane, 2)
    assert number(sent(lane)) == ("1", "0")
    assert error(parcel).args[0] == "No."


@pytest.mark.parametrize("status", [401, 403, 404, 409])
def test_other_refusals_fail_all_of_a_batch(status: int) -> None:
    lane = make()
    parcels = put(lane, 1, 2)
    sent(lane)
    lane.answered(refusal(status), 0)
    assert [type(parcel.outcome) for parcel in parcels] == [Rejected, Rejected]


def test_a_token_that_can_be_renewed_is_once() -> None:
    lane = make(renewable=True)
    [parcel] = put(lane, 1)
    sent(lane)
    assert lane.answered(refusal(401), 1.0).seconds == 0
    assert parcel.outcome is None
    sent(lane)
    lane.answered(refusal(401), 1.0)
    assert isinstance(parcel.outcome, Rejected)


def test_retry_after_is_honoured() -> None:
    lane = make()
    put(lane, 1)
    sent(lane)
    assert lane.answered(refusal(429, again=True, after=7.0), 0.0).seconds == 7.0


@pytest.mark.parametrize(
    ("answer", "in_doubt"),
    [(DROPPED, True), (UNREACHED, False), (refusal(502, again=True), True), (refusal(429, again=True), False)],
)
def test_who_gives_up_says_whether_it_may_have_been_stored(answer: Answer, in_doubt: bool) -> None:
    lane = make(max_retries=1)
    [parcel] = put(lane, 1)
    for _ in range(2):
        sent(lane)
        lane.answered(answer, 0)
    given_up = error(parcel)
    assert isinstance(given_up, GaveUp)
    assert given_up.extra["in_doubt"] is in_doubt
    assert ("not known whether" in given_up.sentence) is in_doubt


def test_an_answer_that_is_none_fails_the_request_and_leaves_it_in_doubt() -> None:
    lane = make()
    [parcel] = put(lane, 1)
    sent(lane)
    lane.answered(Broken(NotUnderstood("No receipt."), sent=True), 0)
    assert isinstance(parcel.outcome, NotUnderstood)
    assert parcel.outcome.extra["in_doubt"] is True


def test_an_attempt_that_cannot_be_made_keeps_its_cause() -> None:
    lane = make()
    [parcel] = put(lane, 1)
    cause = ValueError("no token")
    misused = Misused("It raised.")
    misused.__cause__ = cause
    sent(lane)
    lane.answered(Broken(misused, sent=False), 0)
    assert error(parcel).__cause__ is cause


def test_giving_up_lets_go_of_all_and_only_what_was_sent_is_in_doubt() -> None:
    lane = make(batching=Batching(events=2))
    parcels = put(lane, 1, 2, 3)
    sent(lane)
    lane.answered(refusal(400), 0)  # halves: 1 is next, 2 behind it, 3 waits
    sent(lane)
    lane.interrupted()
    assert set(lane.give_up("Closed.")) == set(parcels)
    assert [error(parcel).extra["in_doubt"] for parcel in parcels] == [True, False, False]  # type: ignore[attr-defined]  # all are of ours
    assert lane.is_idle


# ---- any course of things ---------------------------------------------------------------------------------


class Model:
    """A server with one topic. It judges by the very rule that stores judge by; the log never holds an event twice."""

    def __init__(self, poison: set[int]) -> None:
        self.log: list[int] = []
        self.lost: set[int] = set()
        self.poison = poison
        self._known: dict[str, ProducerState] = {}

    def restart_and_forget(self) -> None:
        self.lost |= set(self.log)
        self.log, self._known = [], {}

    def fate(self, name: str, request: Request) -> Answer:
        """What comes of a request on its way here and back."""
        if name == "cut after":
            self.answer(request)
        strange: dict[str, Answer] = {
            "cut before": DROPPED,
            "cut after": DROPPED,
            "busy": refusal(503, "overloaded", again=True),
            "forbidden": refusal(403),
            "unreached": UNREACHED,
        }
        return strange.get(name) or self.answer(request)

    def answer(self, request: Request) -> Answer:
        events = [int(part.strip(b'{"data":}')) for part in request.body.split(b"\n")]
        if self.poison & set(events):
            return refusal(400, "invalid_event")
        claim = Producer(
            request.headers["producer-id"],
            int(request.headers["producer-epoch"]),
            int(request.headers["producer-seq"]),
        )
        verdict = judge(self._known.get(claim.id), claim)
        if verdict is Verdict.GAP:
            return refusal(409, "producer_gap")
        assert verdict is not Verdict.STALE
        if verdict is Verdict.ACCEPT:
            self._known[claim.id] = ProducerState(claim.epoch, claim.sequence, len(self.log), 0, len(events))
            self.log += events
        state = self._known[claim.id]
        return stored((state.first or 0) + 1, state.count, duplicate=verdict is Verdict.DUPLICATE)


FATES = st.sampled_from(["answered"] * 4 + ["cut before", "cut after", "busy", "forbidden", "unreached", "restart"])


@given(
    st.lists(st.tuples(FATES, st.integers(0, 4)), max_size=60),
    st.sets(st.integers(0, 30), max_size=4),
    st.sampled_from([None, 1]),
)
def test_whatever_happens_each_event_is_stored_once_in_order_or_its_error_says_what_is_known(
    fates: list[tuple[str, int]], poison: set[int], max_retries: int | None
) -> None:
    lane = make(max_retries=max_retries, batching=Batching(events=5))
    server = Model(poison)
    parcels: list[Parcel] = []
    for fate, more in [*fates, *[("answered", 0)] * 200]:
        parcels += put(lane, *range(len(parcels), len(parcels) + more))
        request = lane.next()
        if request is None:
            continue
        if fate == "restart":
            server.restart_and_forget()
        else:
            lane.answered(server.fate(fate, request), 0)
    assert lane.is_idle
    assert server.log == sorted(set(server.log))
    for event, parcel in enumerate(parcels):
        there = event in server.log
        if isinstance(parcel.outcome, Receipt):
            assert there or event in server.lost
            if there:
                assert parcel.outcome.first == f"1-{server.log.index(event) + 1}"
        else:
            assert not there or error(parcel).extra["in_doubt"]  # type: ignore[attr-defined]  # all are of ours
