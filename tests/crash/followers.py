"""Readers that follow one stream to its end through every kill, each from where it knows that it was."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import NamedTuple

from tests.crash.serving import ANSWER_SECONDS, PAUSE_SECONDS, Client, Gate, Over


class LongPolling:
    """Follows by long-poll, from offset to offset."""

    def __init__(self, path: str, gate: Gate) -> None:
        self.read: list[str] = []
        self.answers = 0
        self._path = path
        self._client = Client(gate)

    def run(self) -> None:
        """Until the stream is closed, or it is over."""
        offset, closed = "-1", False
        try:
            while not closed:
                answer = self._client.ask("GET", f"{self._path}?offset={offset}&live=long-poll")
                if answer.status == 404:  # nobody has made it yet
                    time.sleep(PAUSE_SECONDS)
                    continue
                assert answer.status in (200, 204), answer
                if answer.status == 200:
                    self.read += [json.dumps(message) for message in json.loads(answer.body)]
                assert answer.offset >= offset, f"{offset} → {answer.offset}"
                offset, closed = answer.offset, answer.closed
                self.answers += 1
        except Over:
            pass
        finally:
            self._client.close()


class Block(NamedTuple):
    """One event of an event stream."""

    type: str
    data: str
    id: str | None


class Streaming:
    """Follows by Server-Sent Events as a browser does: what it says after a cut is `Last-Event-ID`."""

    def __init__(self, path: str, gate: Gate) -> None:
        self.read: list[str] = []
        self.connects = 0
        self._path = path
        self._gate = gate
        self._last_id: str | None = None
        self._closed = False

    def run(self) -> None:
        """Until the stream is closed, or it is over."""
        try:
            while not self._closed:
                connection = HTTPConnection("127.0.0.1", self._gate.wait_port(), timeout=ANSWER_SECONDS)
                try:
                    self._connect(connection)
                except (OSError, HTTPException):
                    pass  # cut
                finally:
                    connection.close()
        except Over:
            pass

    def _connect(self, connection: HTTPConnection) -> None:
        resumes = {} if self._last_id is None else {"Last-Event-ID": self._last_id}
        connection.request("GET", f"{self._path}?offset=-1&live=sse", headers=resumes)
        with connection.getresponse() as answer:
            if answer.status in (404, 503):  # nobody has made it yet, or nobody answers for the moment
                time.sleep(PAUSE_SECONDS)
                return
            assert answer.status == 200, answer.read()
            self.connects += 1
            while (block := _next(answer)) is not None:
                self._take(block)

    def _take(self, block: Block) -> None:
        if block.type == "data":
            self.read += [json.dumps(message) for message in json.loads(block.data)]
            assert block.id is not None, block
            assert self._last_id is None or block.id > self._last_id, f"{self._last_id} → {block.id}"
            self._last_id = block.id
        elif block.type == "control":
            self._closed = json.loads(block.data).get("streamClosed", False)


def _next(answer: HTTPResponse) -> Block | None:
    """The next event; None if the stream was cut before its end."""
    fields: dict[str, str] = {}
    while line := answer.readline():
        if line == b"\n":
            return Block(fields.get("event", "message"), fields.get("data", ""), fields.get("id"))
        name, _, value = line.decode().rstrip("\n").partition(":")
        value = value.removeprefix(" ")
        fields[name] = f"{fields[name]}\n{value}" if name == "data" and "data" in fields else value
    return None
