"""The feeder: writes what happens to sessions into a Durable Stream, each change once and in order, whatever dies.

    python examples/session_monitor/feeder.py

It keeps no file. Two things make that safe:

* While it runs, it is an *idempotent producer*: each request has the next number (`Producer-Seq`), and one whose
  outcome is unknown (the connection broke, the server went away) is sent again, the same under the same number, until
  it is answered. If it had been stored the first time, the server knows the number and stores nothing.
* When it has died, nobody knows whether its last request was stored, and it may even still be on its way. So a new
  feeder first takes over and only then looks (see `Feeder.take_over`): with a higher `Producer-Epoch` it fences the old
  one off. From there on nothing of the old one can be stored, so what is in the stream now is all there will be of it.
  The feeder reads it, and goes on after the last change that it finds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import httpx2
from story import Change, story

PRODUCER_ID: Final = "session-feeder"
FENCED: Final = 3
"""The exit code of a feeder whose place another one has taken. It must not be started again: they would never stop
taking each other's place."""
WAIT_SECONDS: Final = (0.05, 2.0)
"""How long to wait before a request is sent again: at first, and at most. Each wait is twice the one before."""
ANSWER_SECONDS: Final = 10.0
"""How long to wait for an answer before the outcome counts as unknown."""
PASSING: Final = (429, 500, 502, 503, 504)
"""Answers of a server, or of a proxy before it, that is busy or on its way up or down. What it did is unknown."""


class Fenced(Exception):
    """Another feeder has taken over: this one must write no more."""


class StreamChanged(Exception):
    """The stream is not as this feeder left it (deleted, or restored from a copy): begin anew, and look."""


class Feeder:
    """Writes changes to the stream at `url`."""

    def __init__(self, url: str, http: httpx2.Client) -> None:
        self._url = url
        self._http = http
        self._epoch = 0
        self._sequence = 0

    def take_over(self) -> int:
        """Become the one who writes; answer the number of the last change in the stream, 0 if there is none.

        The order is what matters: first fence off whoever wrote before, then read. The other way round, a late request
        of the old feeder could be stored between the two, and its change would be written twice.
        """
        self._create()
        self._raise_epoch()
        return max([int(change["headers"].get("txid", 0)) for change in self._everything()], default=0)

    def write(self, change: Change) -> None:
        """Append a change; when this returns, it is stored. Raises Fenced or StreamChanged."""
        answer = self._append(change, self._epoch, self._sequence)
        if answer.status_code == 403:
            raise Fenced(f"another feeder has epoch {answer.headers['Producer-Epoch']}, and this one {self._epoch}")
        if answer.status_code not in (200, 204):  # 204: this number is known, so an earlier try had been stored
            raise StreamChanged(f"{answer.status_code} {answer.text}")
        self._sequence += 1

    def _create(self) -> None:
        """Create the stream, or find it there."""
        put = self._until_known(partial(self._http.put, self._url, headers={"Content-Type": "application/json"}))
        put.raise_for_status()

    def _raise_epoch(self) -> None:
        """Claim the next epoch, by a first request in it that tells of the start.

        The server remembers the epoch, so nothing else must. Ours must be new for certain: 204 may mean that a try of
        our own was stored whose answer was lost, or that somebody else has this epoch. Then we take the next one.
        """
        epoch = 0
        while (answer := self._append(_started(epoch), epoch, 0)).status_code != 200:
            if answer.status_code not in (204, 403):
                raise StreamChanged(f"{answer.status_code} {answer.text}")
            epoch = int(answer.headers["Producer-Epoch"]) + 1
        self._epoch, self._sequence = epoch, 1

    def _everything(self) -> Iterable[Mapping[str, Any]]:
        """What is in the stream now."""
        offset, level = "-1", False
        while not level:
            answer = self._until_known(partial(self._http.get, self._url, params={"offset": offset}))
            answer.raise_for_status()
            yield from answer.json()
            offset, level = answer.headers["Stream-Next-Offset"], "Stream-Up-To-Date" in answer.headers

    def _append(self, message: Mapping[str, Any], epoch: int, sequence: int) -> httpx2.Response:
        """One request, sent until it is answered: always the same bytes under the same number."""
        body = json.dumps(message).encode()
        headers = {
            "Content-Type": "application/json",
            "Producer-Id": PRODUCER_ID,
            "Producer-Epoch": str(epoch),
            "Producer-Seq": str(sequence),
        }
        return self._until_known(partial(self._http.post, self._url, content=body, headers=headers))

    def _until_known(self, send: Callable[[], httpx2.Response]) -> httpx2.Response:
        """Send until there is an answer that says what was done. The server may be away for as long as it likes."""
        wait, most = WAIT_SECONDS
        while True:
            try:
                answer = send()
            except httpx2.TransportError as error:
                why = type(error).__name__
            else:
                if answer.status_code not in PASSING:
                    return answer
                why = str(answer.status_code)
            print(f"feeder: {why}, trying again in {wait:g} s", flush=True)
            time.sleep(wait)
            wait = min(2 * wait, most)


def _started(epoch: int) -> dict[str, object]:
    headers = {"operation": "update", "timestamp": _now()}
    return {"type": "feeder", "key": PRODUCER_ID, "value": {"starts": epoch + 1}, "headers": headers}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def feed(feeder: Feeder, changes: int | None, pause: float) -> None:
    """Write the story from where the stream ends, up to so many changes; None: for ever."""
    last = feeder.take_over()
    print(f"feeder: process {os.getpid()} goes on after change {last}", flush=True)
    for change in itertools.islice(story(), last, changes):
        feeder.write({**change, "headers": {**change["headers"], "timestamp": _now()}})
        time.sleep(pause)


def main() -> int:
    """Feed; the exit code says how it ended."""
    parser = argparse.ArgumentParser(description="Write what happens to sessions into a Durable Stream.")
    parser.add_argument("--url", default="http://127.0.0.1:4437/v1/stream/sessions", help="the stream")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two changes")
    parser.add_argument("--changes", type=int, help="how many changes there are (default: it never ends)")
    asked = parser.parse_args()
    with httpx2.Client(timeout=ANSWER_SECONDS) as http:
        try:
            feed(Feeder(asked.url, http), asked.changes, asked.pause)
        except Fenced as error:
            print(f"feeder: {error}: it stops", flush=True)
            return FENCED
        except StreamChanged as error:
            print(f"feeder: the stream is not as it was left: {error}", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
