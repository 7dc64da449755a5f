"""The server for tests: its log, its clock, its streams and their end, and starting again."""

from __future__ import annotations

import gc
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from tailrace.core.position import Cursor
from tailrace.errors import InvalidTopic
from tailrace.server.config import AccessSettings, ApiKey, Settings
from tailrace.testing import server as module
from tailrace.testing.clock import Clock
from tailrace.testing.server import LiveServer, quick_settings, running_server

MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
READER_SECONDS = 10.0


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with running_server(clock=Clock(MOMENT, frozen=True)) as running:
        yield running


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + READER_SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


def stream(server: LiveServer, topics: str = "a") -> str:
    return f"{server.api}/events/stream?topics={topics}"


# ---- the log ------------------------------------------------------------------------------------------------


def test_what_is_published_is_in_the_log(server: LiveServer) -> None:
    first = server.publish("orders/1", {"total": 99}, type="placed", key="1", tags=["new"])
    server.publish("other", "text")
    [event] = server.events("orders/*")
    assert (event.cursor, event.json(), event.type, event.key, event.tags) == (
        first,
        {"total": 99},
        "placed",
        "1",
        ("new",),
    )
    assert [event.text for event in server.events(["other", "third"])] == ["text"]
    assert [event.topic for event in server.events(after=first)] == ["other"]


def test_what_is_published_reaches_readers_over_http(server: LiveServer) -> None:
    with httpx2.stream("GET", stream(server)) as answer:
        lines = answer.iter_lines()
        server.wait_streams(1)
        server.publish("a", 7)
        assert "data: 7" in lines


def test_events_are_all_there_are_however_many_pages_that_takes(server: LiveServer) -> None:
    body = "\n".join(map(str, range(2500)))
    httpx2.post(f"{server.api}/topics/a/events", content=body, headers={"content-type": "application/x-ndjson"})
    assert [event.json() for event in server.events()] == list(range(2500))


def test_a_test_needs_no_key() -> None:
    settings = Settings(store="memory://", port=0, access=AccessSettings(keys=(ApiKey("k", "x" * 20, publish=("b",)),)))
    with running_server(settings) as server:
        server.publish("a", 1)
        assert len(server.events("a")) == 1
        assert httpx2.get(f"{server.api}/events/history?topics=a").status_code == 401


def test_what_is_refused_is_raised(server: LiveServer) -> None:
    with pytest.raises(InvalidTopic):
        server.publish("a//b", 1)


# ---- the clock ----------------------------------------------------------------------------------------------


def test_events_are_dated_by_the_clock(server: LiveServer) -> None:
    server.publish("a", 1)
    server.clock.advance(60)
    server.publish("a", 2)
    assert [event.moment for event in server.events()] == [MOMENT, MOMENT + timedelta(minutes=1)]


def test_a_reader_may_start_at_a_moment_of_the_clock(server: LiveServer) -> None:
    server.publish("a", 1)
    server.clock.advance(3600)
    server.publish("a", 2)
    since = (MOMENT + timedelta(minutes=30)).isoformat()
    found = httpx2.get(f"{server.api}/events/history", params={"topics": "a", "since": since}).json()
    assert found["events"] == [2]


def test_an_event_expires_by_the_clock(server: LiveServer) -> None:
    server.publish("a", 1, expires_at=MOMENT + timedelta(hours=1))
    url = f"{server.api}/events/poll?topics=a&from=earliest&wait=0"
    assert httpx2.get(url).json()["events"] == [1]
    server.clock.advance(3601)
    assert httpx2.get(url).json()["events"] == []
    assert server.events() == []


def test_retention_is_by_the_clock_and_a_sweep(server: LiveServer) -> None:
    httpx2.put(f"{server.api}/topics/a", json={"retention": {"max_age_seconds": 60}}).raise_for_status()
    cursor = server.publish("a", 1)
    server.publish("a", 2)
    assert server.sweep() == 0
    server.clock.advance(61)
    server.publish("a", 3)
    assert server.sweep() == 2
    assert [event.json() for event in server.events("a")] == [3]
    gap = httpx2.get(f"{server.api}/events/poll?topics=a&wait=0", params={"last_event_id": cursor}).json()["gap"]
    assert gap["reason"] == "removed"


def test_repetitions_are_forgotten_by_the_clock(server: LiveServer) -> None:
    once = server.publish("a", 1, id="same")
    assert server.publish("a", 1, id="same") == once
    server.clock.advance(8 * 24 * 3600)
    assert server.publish("a", 1, id="same") != once


def test_a_file_goes_by_the_clock_too(tmp_path: Path) -> None:
    settings = Settings(store=f"sqlite:///{tmp_path}/log.db", port=0)
    with running_server(settings, clock=Clock(MOMENT, frozen=True)) as server:
        server.publish("a", 1, expires_at=MOMENT + timedelta(seconds=1))
        assert [event.moment for event in server.events()] == [MOMENT]
        server.clock.advance(2)
        assert server.events() == []


# ---- streams ------------------------------------------------------------------------------------------------


def test_the_open_streams_are_known(server: LiveServer) -> None:
    with httpx2.stream("GET", stream(server, "a,b/*")) as answer:
        lines = answer.iter_lines()
        opened = next(line for line in lines if line.startswith("data:"))
        [known] = server.streams()
        assert known.topics == ("a", "b/*")
        assert known.connection == json.loads(opened[5:])["connection"]
        assert server.statistics().streams == 1
    server.wait_streams(0)


def test_waiting_for_streams_that_do_not_come_says_how_many_did(server: LiveServer) -> None:
    with pytest.raises(TimeoutError, match=r"0 streams are open after 0\.01 s, and 2 were waited for\."):
        server.wait_streams(2, timeout=0.01)


def test_streams_can_be_cut(server: LiveServer) -> None:
    with httpx2.stream("GET", stream(server)) as answer:
        server.wait_streams(1)
        assert server.cut_streams() == 1
        with pytest.raises(httpx2.RemoteProtocolError):
            list(answer.iter_lines())
    assert server.cut_streams() == 0


def test_draining_tells_streams_to_come_back_and_takes_no_new_ones(server: LiveServer) -> None:
    with httpx2.stream("GET", stream(server)) as answer:
        server.wait_streams(1)
        server.drain()
        assert "event: tailrace.drain" in list(answer.iter_lines())
    assert httpx2.get(stream(server)).status_code == 503


def test_statistics_count_what_went_in_and_out(server: LiveServer) -> None:
    with httpx2.stream("GET", stream(server)) as answer:
        lines = answer.iter_lines()  # kept: the stream is closed with it
        server.wait_streams(1)
        httpx2.post(f"{server.api}/topics/a/events", json=1)
        assert "data: 1" in lines
        wait_until(lambda: server.statistics()[:4] == (1, 0, 1, 1))  # counted after they were written
        found = server.statistics()
    assert found.log.last == Cursor.parse(server.events()[-1].cursor).position


# ---- the end of streams -------------------------------------------------------------------------------------


class Thread(threading.Thread):
    """A reader in a thread, started at once."""

    def __init__(self, read: object, *arguments: object) -> None:
        super().__init__(target=read, args=arguments, daemon=True)
        self.start()

    def has_ended(self) -> bool:
        self.join(READER_SECONDS)
        return not self.is_alive()


def read_for_ever(url: str) -> None:
    with httpx2.stream("GET", url) as answer:
        for _ in answer.iter_lines():
            pass


def read_as_a_browser_does(url: str, statuses: list[int]) -> None:
    """As an EventSource: reconnects for ever with what `id:` and `retry:` said, until it is told 204."""
    headers = {"accept": "text/event-stream"}
    retry = 3.0
    while True:
        with httpx2.stream("GET", url, headers=headers) as answer:
            statuses.append(answer.status_code)
            if answer.status_code != 200:
                return
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    headers["last-event-id"] = value
                if name == "retry":
                    retry = int(value) / 1000
        time.sleep(retry)


def read_and_forget_everything(url: str, statuses: list[int]) -> None:
    """A loop that reconnects at once and knows nothing of cursors, until an answer is no stream."""
    while not statuses or statuses[-1] == 200:
        answer = httpx2.get(url, timeout=READER_SECONDS)
        statuses.append(answer.status_code)


def poll_for_ever(url: str, answers: list[bool]) -> None:
    while not answers or not answers[-1]:
        answers.append(httpx2.get(url, timeout=READER_SECONDS).json()["closed"])


def test_curl_ends_with_its_stream(server: LiveServer) -> None:
    curl = subprocess.Popen(["curl", "-sSN", stream(server)], stdout=subprocess.PIPE, text=True)
    server.wait_streams(1)
    assert server.end_streams() == []
    out, _ = curl.communicate(timeout=READER_SECONDS)
    assert curl.returncode == 0
    assert out.rstrip().endswith('data: {"reason":"closed_by_server","retry":null}')


def test_a_thread_that_reads_for_ever_ends(server: LiveServer) -> None:
    reader = Thread(read_for_ever, stream(server))
    server.wait_streams(1)
    assert server.end_streams() == []
    assert reader.has_ended()


@pytest.mark.parametrize("read", [read_as_a_browser_does, read_and_forget_everything])
def test_a_reader_that_comes_back_is_told_that_it_is_over(server: LiveServer, read: object) -> None:
    statuses: list[int] = []
    reader = Thread(read, stream(server), statuses)
    server.wait_streams(1)
    server.end_streams()
    assert reader.has_ended()
    assert statuses == [200, 204]


def test_a_reader_that_comes_back_after_the_end_is_told_so_too(server: LiveServer) -> None:
    server.end_streams()
    server.stop(for_good=True)
    for _ in range(2):
        assert httpx2.get(stream(server)).status_code == 204


def test_a_poll_that_waits_is_told_that_it_is_over(server: LiveServer) -> None:
    answers: list[bool] = []
    reader = Thread(poll_for_ever, f"{server.api}/events/poll?topics=a&wait=60", answers)
    wait_until(lambda: server.statistics().polls == 1)
    server.end_streams()
    assert reader.has_ended()
    assert answers == [True]


def test_without_readers_there_is_nothing_to_end(server: LiveServer) -> None:
    assert server.end_streams() == []
    assert httpx2.get(stream(server)).status_code == 204


def test_a_reader_that_takes_nothing_is_named_and_cut(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "END_SECONDS", 0.05)
    port = httpx2.URL(server.url).port
    assert port
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", port))
        stalled.sendall(b"GET /api/v1/events/stream?topics=a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        server.wait_streams(1)
        for _ in range(20):  # 4 MB: more than the kernel takes for a reader that does not
            server.publish("a", b"x" * 200_000)
        [known] = server.streams()
        assert server.end_streams() == [known]
        server.stop()


# ---- start and stop -----------------------------------------------------------------------------------------


def test_a_file_is_there_again_after_a_restart(tmp_path: Path) -> None:
    with running_server(Settings(store=f"sqlite:///{tmp_path}/log.db", port=0)) as server:
        cursor, url = server.publish("a", 1), server.url
        server.restart()
        assert server.url == url
        assert [event.cursor for event in server.events()] == [cursor]


def test_a_log_in_memory_begins_anew_and_says_so(server: LiveServer) -> None:
    cursor = server.publish("a", 1)
    server.restart()
    assert server.events() == []
    gap = httpx2.get(f"{server.api}/events/poll?topics=a&wait=0", params={"last_event_id": cursor}).json()["gap"]
    assert gap["reason"] == "epoch"


def test_the_process_is_as_it_was_after_the_last_server() -> None:
    before = sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count()
    with running_server():
        assert gc.get_threshold() != before[1]
    assert (sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count()) == before


def test_what_keeps_it_from_starting_is_raised(server: LiveServer) -> None:
    port = httpx2.URL(server.url).port
    assert port
    with pytest.raises(Exception, match="Cannot listen"), running_server(Settings(store="memory://", port=port)):
        pass


def test_a_server_that_does_not_run_says_so() -> None:
    server = LiveServer(quick_settings())
    assert repr(server) == "<LiveServer not running, memory://>"
    server.stop()
    for use in (server.streams, server.sweep, lambda: server.publish("a", 1), lambda: server.site):
        with pytest.raises(RuntimeError, match="is not running"):
            use()
