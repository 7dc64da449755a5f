"""What faults do to connections, seen from plain sockets and from HTTP clients."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import httpx2
import pytest

from tailrace.testing import proxy as module
from tailrace.testing.faults import Buffer, Chunk, Delay, Drop, Fault, Refuse, Stall, Status, Truncate
from tailrace.testing.proxy import Faults
from tailrace.testing.server import running_server

BODY = b"0123456789" * 100
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"64\r\n" + BODY[:100] + b"\r\n"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
WAIT_SECONDS = 10.0


class Scripted:
    """A server that answers every connection's requests with the same bytes, and tells what it was sent."""

    def __init__(self, *answers: bytes, ends: bool = False) -> None:
        self._answers = answers
        self._ends = ends
        self.requests: list[bytes] = []
        self.gone = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._go_on = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def go_on(self) -> None:
        """Send the next part of the answer."""
        self._go_on.set()

    def close(self) -> None:
        self._listening.close()
        self._go_on.set()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connected, _ = self._listening.accept()
                threading.Thread(target=self._answer, args=(connected,), daemon=True).start()

    def _answer(self, connected: socket.socket) -> None:
        with connected, contextlib.suppress(OSError):
            self.requests.append(connected.recv(65536))
            for number, answer in enumerate(self._answers):
                if number:
                    self._go_on.wait(WAIT_SECONDS)
                connected.sendall(answer)
            if not self._ends:
                while received := connected.recv(65536):
                    self.requests[-1] += received
        self.gone.set()


class Got(NamedTuple):
    data: bytes
    reset: bool


def ask(url: str, request: bytes = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n") -> socket.socket:
    where = httpx2.URL(url)
    connected = socket.create_connection((where.host, where.port or 80), timeout=WAIT_SECONDS)
    connected.sendall(request)
    return connected


def until_end(connected: socket.socket) -> Got:
    """Everything that comes until the connection ends, and whether it ended abortively."""
    data = b""
    with connected:
        try:
            while received := connected.recv(65536):
                data += received
        except ConnectionResetError:
            return Got(data, reset=True)
    return Got(data, reset=False)


def until(connected: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (received := connected.recv(size - len(data))):
        data += received
    return data


def is_silent(connected: socket.socket) -> bool:
    connected.settimeout(0.1)
    try:
        return connected.recv(1) is None
    except TimeoutError:
        return True
    finally:
        connected.settimeout(WAIT_SECONDS)


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


@contextlib.contextmanager
def before(*answers: bytes, ends: bool = False, seed: int = 1) -> Iterator[tuple[Faults, Scripted]]:
    server = Scripted(*answers, ends=ends)
    try:
        with Faults(server.url, seed=seed) as faults:
            yield faults, server
    finally:
        server.close()


# ---- nothing goes wrong -------------------------------------------------------------------------------------


def test_without_faults_requests_and_answers_pass_as_they_are() -> None:
    request = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    with before(LONG) as (faults, server):
        connected = ask(faults.url, request)
        assert until(connected, len(LONG)) == LONG
        assert server.requests == [request]
        connected.close()


def test_a_connection_takes_one_request_after_the_other() -> None:
    with running_server() as server, Faults(server.url) as faults, httpx2.Client(base_url=faults.url) as http:
        for number in range(3):
            assert http.post("/api/v1/topics/a/events", json=number).status_code == 201
        found = http.get("/api/v1/events/history", params={"topics": "a"}).json()
        assert found["events"] == [0, 1, 2]
        assert faults.connections == 1
        assert faults.statistics().requests == 4


def test_a_body_in_chunks_passes_both_ways() -> None:
    def body() -> Iterator[bytes]:
        yield b'{"a":'
        yield b"1}"

    with running_server() as server, Faults(server.url) as faults, httpx2.Client(base_url=faults.url) as http:
        sent = http.post("/api/v1/topics/a/events", content=body(), headers={"content-type": "application/json"})
        assert sent.status_code == 201
        assert server.url != faults.url
        assert http.get("/api/v1/events/history", params={"topics": "a"}).json()["events"] == [{"a": 1}]


def test_curl_gets_a_large_body_through_that_waits_for_100_continue() -> None:
    with running_server() as server, Faults(server.url) as faults:
        body = '"' + "x" * 2_000_000 + '"'
        curl = ["curl", "-sS", "-H", "content-type: application/json", "-d@-", f"{faults.url}/api/v1/topics/a/events"]
        done = subprocess.run(curl, input=body, capture_output=True, text=True, timeout=60, check=False)
        assert '"count":1' in done.stdout, done


def test_answers_without_a_body_end_with_their_head() -> None:
    with running_server() as server, Faults(server.url) as faults, httpx2.Client(base_url=faults.url) as http:
        assert http.head("/api/v1/events/stream", params={"topics": "a"}).status_code == 200
        ended = http.get("/api/v1/events/stream", params={"topics": "a"}, headers={"last-event-id": "end"})
        assert ended.status_code == 204
        assert http.get("/livez").status_code == 200


def test_an_answer_that_ends_with_its_connection_ends_here_too() -> None:
    with before(b"HTTP/1.0 200 OK\r\n\r\n", BODY, ends=True) as (faults, server):
        server.go_on()
        assert until_end(ask(faults.url)) == Got(b"HTTP/1.0 200 OK\r\n\r\n" + BODY, reset=False)


def test_when_the_client_goes_the_server_is_told() -> None:
    with before(STREAM + CHUNKS) as (faults, server):
        connected = ask(faults.url)
        until(connected, len(STREAM + CHUNKS))
        connected.close()
        assert server.gone.wait(WAIT_SECONDS)
        wait_until(lambda: faults.statistics().open == 0)


def test_when_the_server_goes_in_mid_answer_the_client_is_cut() -> None:
    with before(STREAM, CHUNKS[:50], ends=True) as (faults, server):
        server.go_on()
        assert until_end(ask(faults.url)).reset


def test_a_server_that_is_away_resets_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Faults(url) as faults:
        assert until_end(ask(faults.url)).reset
        assert faults.statistics().unreachable == 1


def test_what_is_no_http_is_cut() -> None:
    with before(LONG) as (faults, server):
        assert until_end(ask(faults.url, b"\x00\r\n\r\n")).data == b""
        assert server.requests == []


# ---- each fault ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [True, False])
def test_drop_cuts_after_so_many_bytes(reset: bool) -> None:
    with before(LONG) as (faults, _):
        faults.set(Drop(after_bytes=70, reset=reset))
        got = until_end(ask(faults.url))
        assert got.reset == reset
        assert LONG[:70].startswith(got.data) if reset else got.data == LONG[:70]
        assert faults.cuts == 1


def test_drop_cuts_only_so_many_connections() -> None:
    with before(LONG) as (faults, _):
        faults.set(Drop(connections=2))
        for _ in range(2):
            assert until_end(ask(faults.url)).data == b""
        with ask(faults.url) as third:
            assert until(third, len(LONG)) == LONG
        assert faults.statistics().cut == 2


def test_drop_cuts_an_answer_that_was_under_way_when_it_was_set() -> None:
    with before(STREAM + CHUNKS) as (faults, _):
        connected = ask(faults.url)
        until(connected, len(STREAM + CHUNKS))
        faults.set(Drop())
        assert until_end(connected).reset


def test_drop_cuts_a_request_that_waits_for_its_answer() -> None:
    with before(b"", LONG) as (faults, server):
        connected = ask(faults.url)
        wait_until(lambda: len(server.requests) == 1)
        faults.set(Drop())
        assert until_end(connected).reset


def test_drop_counts_from_when_it_was_set() -> None:
    with before(STREAM, CHUNKS) as (faults, server):
        connected = ask(faults.url)
        until(connected, len(STREAM))
        faults.set(Drop(after_bytes=10, reset=False))
        server.go_on()
        assert until_end(connected).data == CHUNKS[:10]


def test_drop_of_a_request_cuts_before_the_server_has_it_all() -> None:
    request = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + BODY
    with before(LONG) as (faults, server):
        faults.set(Drop(after_bytes=500, of="request"))
        assert until_end(ask(faults.url, request)).data == b""
        assert server.gone.wait(WAIT_SECONDS)
        assert all(request[:500].startswith(received) for received in server.requests)


def test_a_fault_is_for_the_paths_it_names() -> None:
    with before(LONG) as (faults, _):
        faults.set(Drop(path="/b/*"))
        with ask(faults.url) as other:
            assert until(other, len(LONG)) == LONG
        assert until_end(ask(faults.url, b"GET /b/c?d HTTP/1.1\r\nHost: a\r\n\r\n")).data == b""


def test_truncate_ends_a_stream_in_proper_form() -> None:
    with before(STREAM + CHUNKS) as (faults, _):
        faults.set(Truncate(after_bytes=42))
        answer = httpx2.get(faults.url)
        assert answer.content == BODY[:42]
        assert faults.statistics().truncated == 1


def test_truncate_ends_a_stream_that_is_under_way_and_silent() -> None:
    with before(STREAM + CHUNKS) as (faults, _), httpx2.stream("GET", faults.url) as answer:
        parts = answer.iter_raw()
        assert next(parts) == BODY[:100]
        faults.set(Truncate(after_bytes=0))
        assert list(parts) == []


def test_truncate_leaves_answers_alone_that_state_their_length() -> None:
    with before(LONG) as (faults, _):
        faults.set(Truncate(after_bytes=42))
        assert httpx2.get(faults.url).content == BODY


def test_truncate_ends_only_so_many() -> None:
    with before(STREAM + CHUNKS + b"0\r\n\r\n") as (faults, _):
        faults.set(Truncate(after_bytes=42, connections=1))
        assert [len(httpx2.get(faults.url).content) for _ in range(2)] == [42, 100]


def test_stall_lets_nothing_more_through_until_it_is_cleared() -> None:
    with before(LONG) as (faults, _):
        faults.set(Stall(after_bytes=70))
        with ask(faults.url) as connected:
            assert until(connected, 70) == LONG[:70]
            assert is_silent(connected)
            assert faults.statistics().stalled == 1
            faults.clear(Stall)
            assert until(connected, len(LONG) - 70) == LONG[70:]


def test_a_client_may_leave_while_its_answer_is_stalled() -> None:
    with before(LONG) as (faults, server):
        faults.set(Stall())
        connected = ask(faults.url)
        wait_until(lambda: faults.statistics().stalled == 1)
        connected.close()
        assert server.gone.wait(WAIT_SECONDS)


def test_delay_lets_every_piece_wait() -> None:
    with before(LONG) as (faults, _):
        faults.set(Delay(0.05, jitter=0.01))
        began = time.monotonic()
        with ask(faults.url) as connected:
            assert until(connected, len(LONG)) == LONG
        assert time.monotonic() - began >= 0.08


def test_what_is_delayed_goes_on_when_the_delay_is_cleared() -> None:
    with before(LONG) as (faults, server), contextlib.ExitStack() as stack:
        faults.set(Delay(3600))
        connected = stack.enter_context(ask(faults.url))
        wait_until(lambda: len(server.requests) == 1)
        faults.clear(Delay)
        assert until(connected, len(LONG)) == LONG


def test_refuse_resets_connections_at_once() -> None:
    with before(LONG) as (faults, server):
        faults.set(Refuse(connections=1))
        with contextlib.suppress(ConnectionError):
            assert until_end(ask(faults.url)).data == b""
        with ask(faults.url) as second:
            assert until(second, len(LONG)) == LONG
        assert (faults.statistics().refused, len(server.requests)) == (1, 1)


def test_status_answers_instead_of_the_server() -> None:
    with before(LONG) as (faults, server):
        faults.set(Status(503, retry_after=7, times=1))
        refused = httpx2.post(faults.url, content=b"x" * 10)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")
        assert refused.json()["code"] == "injected"
        assert server.requests == []
        assert httpx2.get(faults.url).content == BODY


def test_chunk_cuts_bodies_into_small_pieces() -> None:
    with before(STREAM + CHUNKS + b"0\r\n\r\n") as (faults, _):
        faults.set(Chunk(size=3))
        connected = ask(faults.url)
        cut = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [BODY[i : i + 3] for i in range(0, 99, 3)])
        expected = STREAM + cut + b"1\r\n9\r\n0\r\n\r\n"
        assert until(connected, len(expected)) == expected
        connected.close()


def test_buffer_holds_back_until_there_is_enough() -> None:
    with before(STREAM + CHUNKS, CHUNKS) as (faults, server):
        faults.set(Buffer(until_bytes=150))
        with ask(faults.url) as connected:
            assert until(connected, len(STREAM)) == STREAM
            assert is_silent(connected)
            server.go_on()
            assert until(connected, 4 + 200 + 2) == b"c8\r\n" + 2 * BODY[:100] + b"\r\n"


def test_buffer_lets_go_at_the_end_and_when_it_is_cleared() -> None:
    with before(STREAM + CHUNKS, b"0\r\n\r\n") as (faults, server):
        faults.set(Buffer())
        with ask(faults.url) as connected:
            assert until(connected, len(STREAM)) == STREAM
            faults.clear()
            assert until(connected, len(CHUNKS)) == CHUNKS
        server.go_on()
        faults.set(Buffer())
        assert httpx2.get(faults.url).content == BODY[:100]


def test_faults_work_together() -> None:
    with before(STREAM + CHUNKS) as (faults, _):
        faults.set(Chunk(size=10))
        faults.add(Drop(after_bytes=len(STREAM) + 17, reset=False))
        assert until_end(ask(faults.url)).data == STREAM + b"a\r\n0123456789\r\na\r"


# ---- chance, and the proxy itself ---------------------------------------------------------------------------


def test_the_same_seed_draws_the_same_places() -> None:
    def drawn(seed: int) -> list[int]:
        with before(LONG, seed=seed) as (faults, _):
            faults.set(Drop(after_bytes=(0, len(LONG) - 1), reset=False))
            return [len(until_end(ask(faults.url)).data) for _ in range(10)]

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)
    assert len(set(drawn(5))) > 3


def test_an_error_in_the_block_is_told_the_seed() -> None:
    with pytest.raises(ZeroDivisionError) as failed, before(LONG, seed=77):
        1 / 0  # noqa: B018 - what a test might do
    assert failed.value.__notes__ == ["Faults were drawn with seed=77."]


def test_faults_may_be_set_before_the_start_and_cleared_after_the_end() -> None:
    server = Scripted(LONG)
    faults = Faults(server.url, seed=3)
    faults.set(Drop())
    assert repr(faults) == f"<Faults not started before {server.url}, seed=3>"
    with faults:
        assert until_end(ask(faults.url)).data == b""
    faults.clear()
    faults.stop()
    assert faults.cuts == 1
    server.close()


def test_stopping_lets_go_of_what_is_held_and_closes_what_stays_open() -> None:
    with before(STREAM + CHUNKS) as (faults, _):
        faults.set(Stall())
        connected = ask(faults.url)
        wait_until(lambda: faults.statistics().stalled == 1)
        faults.stop()
        assert until_end(connected).data.startswith(STREAM)
        assert faults.statistics().open == 0


def test_stopping_does_not_wait_for_connections_that_ask_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_BYTES_SECONDS", 3600)
    with running_server() as server, Faults(server.url) as faults, httpx2.Client(base_url=faults.url) as http:
        assert http.get("/livez").status_code == 200
        faults.stop()
        with pytest.raises(httpx2.TransportError):
            http.get("/livez")


def test_a_proxy_that_stopped_for_good_says_so() -> None:
    with before(LONG) as (faults, server):
        faults.stop(for_good=True)
        assert httpx2.get(faults.url).status_code == 204
        assert server.requests == []


def test_a_body_with_trailers_passes_without_them() -> None:
    with before(STREAM + CHUNKS + b"0\r\nChecksum: 1\r\n\r\n") as (faults, _), ask(faults.url) as connected:
        assert until(connected, len(STREAM + CHUNKS) + 5) == STREAM + CHUNKS + b"0\r\n\r\n"


def test_a_client_that_resets_its_connection_is_gone() -> None:
    with before(STREAM + CHUNKS) as (faults, server):
        connected = ask(faults.url)
        until(connected, len(STREAM + CHUNKS))
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connected.close()
        assert server.gone.wait(WAIT_SECONDS)


def test_the_target_may_be_asked_for_each_time() -> None:
    one, other = Scripted(LONG, ends=True), Scripted(STREAM + CHUNKS + b"0\r\n\r\n", ends=True)
    targets = [other.url, one.url]
    with Faults(targets.pop) as faults:
        assert len(httpx2.get(faults.url).content) == len(BODY)
        assert len(httpx2.get(faults.url).content) == 100
    one.close()
    other.close()


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:1", "http://"])
def test_a_target_that_cannot_be_stood_before_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="cannot be stood before"):
        Faults(url)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Drop(after_bytes=-1), "cannot be negative"),
        (lambda: Drop(after_bytes=(5, 4)), "a range"),
        (lambda: Drop(connections=0), "at least 1"),
        (lambda: Stall(after_bytes=(-1, 4)), "a range"),
        (lambda: Status(200), "from 400 to 599"),
        (lambda: Status(503, retry_after=-1), "cannot be negative"),
        (lambda: Delay(-0.1), "from 0 to 3600"),
        (lambda: Chunk(size=0), "at least 1"),
        (lambda: Buffer(until_bytes=0), "at least 1"),
        (lambda: Refuse(connections=0), "at least 1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make: Callable[[], Fault], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.anyio
async def test_it_works_inside_an_event_loop_and_for_many_at_once() -> None:
    with running_server() as server, Faults(server.url) as faults:
        faults.set(Delay(0.001), Chunk(size=50))
        async with httpx2.AsyncClient(base_url=faults.url) as http:
            answers = await asyncio.gather(*[http.post("/api/v1/topics/a/events", json=n) for n in range(50)])
            assert {answer.status_code for answer in answers} == {201}
            found = await http.get("/api/v1/events/history", params={"topics": "a"})
        assert sorted(found.json()["events"]) == list(range(50))
