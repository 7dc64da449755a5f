"""The publisher for threads: they share requests, and one that is interrupted leaves nothing undone or done twice."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.client.publishing import Asked, Said, always, answering, history, numbers_of, refusal, turns

from tailrace.client import Closed, GaveUp, Misused, PublishLimits, Receipt, Rejected, SyncPublisher
from tailrace.core.event import Draft
from tailrace.errors import InvalidParameter
from tailrace.server.run import Running
from tailrace.testing.server import running_server


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running_server() as running:
        yield running


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.client.lane.RETRY_MILLISECONDS", 5)


class Gate:
    """Holds back answers until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, _: Asked) -> Said:
        self.reached.release()
        assert self.open.wait(30)
        return Said()

    def wait_reached(self) -> None:
        assert self.reached.acquire(timeout=30)


class Background:
    """A call in a thread of its own, and what came of it."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.outcome: object = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._call()
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.outcome = error

    def end(self) -> object:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.outcome


def wait_waiting(publisher: SyncPublisher, events: int) -> None:
    while publisher.statistics().waiting_events < events:
        threading.Event().wait(0.001)


def test_what_is_published_is_there(server: Running) -> None:
    with SyncPublisher(server.url) as publisher:
        receipt = publisher.publish("sync", {"n": 1}, type="x", key="k")
        receipts = publisher.publish_many("sync", [{"n": 2}, Draft(topic="sync", data=b'{"n": 3}')], type="y")
    assert receipt.first == receipt.last
    assert [one.count for one in receipts] == [1, 1]
    assert history(server.url, "sync") == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_nothing_to_publish_is_no_request(server: Running) -> None:
    with SyncPublisher(server.url) as publisher:
        assert publisher.publish_many("none", []) == []
        assert publisher.statistics().requests == 0


def test_lines_are_published_in_whatever_pieces_they_come(server: Running) -> None:
    with SyncPublisher(server.url) as publisher:
        answers = [(receipt.count, size) for receipt, size in publisher.publish_lines("lines", [b"1\n2", b"", b"2\n3"])]
    assert answers == [(1, 2), (1, 3), (1, 2)]
    assert history(server.url, "lines") == [1, 22, 3]


def test_a_broken_line_is_counted_from_where_its_request_began(server: Running) -> None:
    with (
        SyncPublisher(server.url) as publisher,
        pytest.raises(Rejected, match=r"Line 1: .*Counted from line 2\."),
    ):
        list(publisher.publish_lines("broken", [b"1\n", b"{\n"]))


def test_many_threads_publish_each_event_once_and_each_its_own_in_order(server: Running) -> None:
    threads, each = 16, 50
    with SyncPublisher(server.url) as publisher, ThreadPoolExecutor(threads) as pool:

        def publish(thread: int) -> None:
            for number in range(each):
                publisher.publish(f"threads/{thread % 2}", [thread, number])

        list(pool.map(publish, range(threads)))
        requests = publisher.statistics().requests
    for topic in range(2):
        seen = history(server.url, f"threads/{topic}")
        expected = {thread: [[thread, n] for n in range(each)] for thread in range(topic, threads, 2)}
        assert {thread: [event for event in seen if event[0] == thread] for thread in expected} == expected  # type: ignore[index]  # pairs
        assert len(seen) == each * threads // 2
    assert requests < threads * each


def test_those_who_publish_meanwhile_share_the_next_request() -> None:
    gate = Gate()
    with answering(gate) as answers, SyncPublisher(answers.url) as publisher:
        first = Background(lambda: publisher.publish("t", 0))
        gate.wait_reached()
        others = [Background(lambda n=n: publisher.publish("t", n)) for n in range(1, 9)]
        wait_waiting(publisher, 9)
        gate.open.set()
        assert all(isinstance(one.end(), Receipt) for one in (first, *others))
    assert [asked.events for asked in answers.asked] == [1, 8]


def test_a_refusal_reaches_the_thread_that_published_it_alone() -> None:
    gate = Gate()

    def picky(asked: Asked) -> Said:
        said = gate(asked)
        return refusal(422, "schema") if b'"bad"' in asked.body else said

    with answering(picky) as answers, SyncPublisher(answers.url) as publisher:
        first = Background(lambda: publisher.publish("t", 0))
        gate.wait_reached()
        others = [Background(lambda data=data: publisher.publish("t", {"a": data})) for data in ("good", "bad")]
        wait_waiting(publisher, 3)
        gate.open.set()
        outcomes = [type(one.end()) for one in (first, *others)]
    assert outcomes == [Receipt, Receipt, Rejected]


def test_what_was_cut_is_sent_again_under_its_number() -> None:
    script = turns(Said(0), Said(503, b"", {"retry-after": "0"}))
    with answering(script) as answers, SyncPublisher(answers.url) as publisher:
        publisher.publish("t", 1)
        assert publisher.statistics().retries == 2
    assert len(set(numbers_of(answers.asked))) == 1


def test_a_server_that_cannot_be_reached_is_given_up_when_told_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with SyncPublisher(url, max_retries=1) as publisher, pytest.raises(GaveUp, match="Tried 2 times"):
        publisher.publish("t", 1)


def test_tokens_are_asked_for_and_renewed() -> None:
    tokens = iter(["one", "two"])
    script = turns(refusal(401, "unauthorized"))
    with answering(script) as answers, SyncPublisher(answers.url, token=lambda: next(tokens)) as publisher:
        publisher.publish("t", 1)
    assert [asked.headers["authorization"] for asked in answers.asked] == ["Bearer one", "Bearer two"]


def test_a_token_that_no_header_can_carry_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="give the key alone"):
        SyncPublisher("http://localhost", token="two words")


def test_a_callable_that_raises_is_named() -> None:
    def broken() -> str:
        raise KeyError("secret")

    with (
        SyncPublisher("http://127.0.0.1:9", token=broken) as publisher,
        pytest.raises(Misused, match="The token's callable raised KeyError"),
    ):
        publisher.publish("t", 1)


def test_beyond_the_waiting_bytes_threads_wait_for_room() -> None:
    gate = Gate()
    with answering(gate) as answers, SyncPublisher(answers.url, limits=PublishLimits(waiting_bytes=300)) as publisher:
        publishing = [Background(lambda n=n: publisher.publish(f"t/{n}", n)) for n in range(5)]
        gate.wait_reached()
        assert publisher.statistics().waiting_events == 1
        gate.open.set()
        assert all(isinstance(one.end(), Receipt) for one in publishing)
    assert len(answers.asked) == 5


# ---- interrupts -------------------------------------------------------------------------------------------


class Interrupting:
    """Stands before the HTTP client, and raises KeyboardInterrupt in a thread that has just sent."""

    def __init__(self, publisher: SyncPublisher, times: int) -> None:
        self._post = publisher._http.post
        self.times = times

    def __call__(self, *arguments: object, **keywords: object) -> object:
        response = self._post(*arguments, **keywords)  # type: ignore[arg-type]  # as they came
        if self.times:
            self.times -= 1
            raise KeyboardInterrupt
        return response


def test_what_an_interrupted_leader_has_sent_is_seen_through_by_the_next(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SyncPublisher(server.url) as publisher:
        publisher.publish("interrupted", 0)
        monkeypatch.setattr(publisher._http, "post", Interrupting(publisher, 1))
        with pytest.raises(KeyboardInterrupt):
            publisher.publish("interrupted", 1)
        assert publisher.statistics().waiting_events == 1
        publisher.publish("interrupted", 2)
        assert publisher.statistics().duplicates == 1
    assert history(server.url, "interrupted") == [0, 1, 2]


def test_what_an_interrupted_leader_has_left_is_sent_by_closing(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SyncPublisher(server.url) as publisher:
        monkeypatch.setattr(publisher._http, "post", Interrupting(publisher, 1))
        with pytest.raises(KeyboardInterrupt):
            publisher.publish("left", 1)
    assert publisher.statistics().waiting_events == 0
    assert history(server.url, "left") == [1]


def test_threads_that_follow_an_interrupted_leader_are_not_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    with answering(gate) as answers, SyncPublisher(answers.url) as publisher:
        monkeypatch.setattr(publisher._http, "post", Interrupting(publisher, 1))
        leader = Background(lambda: publisher.publish("t", 0))
        gate.wait_reached()
        followers = [Background(lambda n=n: publisher.publish("t", n)) for n in range(1, 4)]
        wait_waiting(publisher, 4)
        gate.open.set()
        assert isinstance(leader.end(), KeyboardInterrupt)
        assert all(isinstance(one.end(), Receipt) for one in followers)
    assert numbers_of(answers.asked)[0] == numbers_of(answers.asked)[1]


# ---- the end ----------------------------------------------------------------------------------------------


def test_closing_waits_for_those_who_publish() -> None:
    gate = Gate()
    with answering(gate) as answers:
        publisher = SyncPublisher(answers.url)
        publishing = Background(lambda: publisher.publish("t", 1))
        gate.wait_reached()
        closing = Background(publisher.close)
        while publisher._deadline is None:
            threading.Event().wait(0.001)
        gate.open.set()
        assert closing.end() is None
        assert isinstance(publishing.end(), Receipt)


def test_closing_waits_no_longer_than_it_was_told() -> None:
    gate = Gate()
    with answering(gate) as answers:
        publisher = SyncPublisher(answers.url, limits=PublishLimits(drain_seconds=0.05, waiting_bytes=300))
        publishing = [Background(lambda n=n: publisher.publish("t", n)) for n in range(2)]
        gate.wait_reached()
        publisher.close()
        gate.open.set()
        outcomes = [one.end() for one in publishing]
    assert [type(outcome) for outcome in outcomes] == [GaveUp, GaveUp]
    assert sorted(outcome.extra["in_doubt"] for outcome in outcomes if isinstance(outcome, GaveUp)) == [False, True]


def test_closing_does_not_wait_for_a_backoff_to_end() -> None:
    with answering(lambda _: Said(503, b"", {"retry-after": "600"})) as answers:
        publisher = SyncPublisher(answers.url, limits=PublishLimits(drain_seconds=0.05))
        publishing = Background(lambda: publisher.publish("t", 1))
        while not publisher.statistics().requests:
            threading.Event().wait(0.001)
        publisher.close()
        assert isinstance(publishing.end(), GaveUp)


def test_after_closing_nothing_is_published_and_closing_again_is_no_error() -> None:
    with answering(always) as answers:
        publisher = SyncPublisher(answers.url)
        publisher.close()
        publisher.close()
        with pytest.raises(Closed, match="open another one"):
            publisher.publish("t", 1)


def test_a_fork_is_told_to_make_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with SyncPublisher("http://127.0.0.1:9") as publisher:
        pid = os.getpid()
        with monkeypatch.context() as forked:
            forked.setattr(os, "getpid", lambda: pid + 1)
            with pytest.raises(Misused, match="make one in each process"):
                publisher.publish("t", 1)
