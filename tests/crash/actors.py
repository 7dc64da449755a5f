"""Clients that know what must be true: each step is written down before it is asked for, and struck out when answered.

Between the two it is in doubt: after a kill either all of it is there or nothing. What a repeated request is answered
tells which, and it must be what is seen.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from tests.crash.serving import Answer, Client, Gate, Over

PREFIX = "/v1/stream"
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
CLOSES = {"Stream-Closed": "true"}


class Seen(NamedTuple):
    """A stream as a reader sees it: what a GET answers, its messages or lines, whether it is closed."""

    status: int = 404
    content: tuple[str, ...] = ()
    closed: bool = False

    def plus(self, *content: str, closed: bool = False) -> Seen:
        return Seen(self.status, (*self.content, *content), self.closed or closed)


class Stream:
    """What one stream must be."""

    def __init__(self, name: str, headers: Mapping[str, str]) -> None:
        self.name = name
        self.headers = headers
        self.seen = Seen()
        self.offset = ""
        """The highest offset that was ever answered."""

    @property
    def path(self) -> str:
        return f"{PREFIX}/{quote(self.name)}"

    def body(self, content: Sequence[str]) -> bytes:
        """A request's body that appends this content."""
        if self.headers is TEXT:
            return "".join(f"{line}\n" for line in content).encode()
        return f"[{','.join(content)}]".encode()

    def moved(self, answer: Answer, *, further: bool = False) -> None:
        """Offsets never go back; new content has a `further` one."""
        offset = answer.offset
        assert offset > self.offset if further else offset >= self.offset, f"{self.name}: {self.offset} → {offset}"
        self.offset = offset


def read(client: Client, stream: Stream) -> Seen:
    """A stream from its start to its end, as it stands."""
    offset, content, closed = "-1", [], False
    while True:
        answer = client.ask("GET", f"{stream.path}?offset={offset}")
        if answer.status != 200:
            assert answer.status in (404, 410), answer
            return Seen(answer.status)
        if stream.headers is TEXT:
            content += answer.body.decode().splitlines()
        else:
            content += [json.dumps(message) for message in json.loads(answer.body)]
        offset, closed = answer.offset, answer.closed
        if "stream-up-to-date" in answer.headers:
            stream.moved(answer)
            return Seen(200, tuple(content), closed)


class Expected(NamedTuple):
    """What a request is answered that changes something, and what one whose change was already made."""

    fresh: int
    repeated: int


class Actor:
    """One client with streams of its own. `steps` were acknowledged, `repeats` of them by an answer to a repetition."""

    def __init__(self, name: str, gate: Gate) -> None:
        self.name = name
        self.chance = random.Random(name)
        self.streams: list[Stream] = []
        self.steps = 0
        self.repeats = 0
        self._gate = gate
        self._client = Client(gate)
        self._doubt: dict[Stream, Seen] = {}
        self._applied: bool | None = None
        """Whether the step in doubt was made, if that has been seen."""

    def run(self) -> None:
        """One life after the other, until it is the end."""
        number = 0
        try:
            while not self._gate.ending:
                self.live(f"{self.name}/{number}")
                number += 1
        except Over:
            pass
        finally:
            self._client.close()

    def live(self, name: str) -> None:
        """Make streams and do with them all there is to do."""
        raise NotImplementedError

    def stream(self, name: str, headers: Mapping[str, str] = JSON) -> Stream:
        made = Stream(name, headers)
        self.streams.append(made)
        return made

    # ---- one step -------------------------------------------------------------------------------------------

    def step(
        self,
        method: str,
        stream: Stream,
        changes: Mapping[Stream, Seen],
        expected: Expected,
        headers: Mapping[str, str],
        body: bytes = b"",
    ) -> tuple[Answer, bool]:
        """Make a change, asking until it is answered; the last answer, and whether it was of a repetition."""
        self._doubt, self._applied, attempts = dict(changes), None, 0
        answer = None
        while answer is None:
            answer = self._client.ask_once(method, stream.path, body, dict(headers))
            attempts += 1
        repeated = answer.status == expected.repeated
        if expected.fresh == expected.repeated or attempts == 1:
            assert answer.status == expected.fresh, (stream.name, expected, answer)
        elif self._applied is not None:
            right = expected.repeated if self._applied else expected.fresh
            assert answer.status == right, (stream.name, right, self._applied, answer)
        else:
            assert answer.status in expected, (stream.name, expected, answer)
        for one, seen in self._doubt.items():
            one.seen = seen
        self._doubt = {}
        self.steps += 1
        self.repeats += repeated and attempts > 1
        return answer, repeated

    def append(
        self, stream: Stream, content: Sequence[str], expected: Expected, headers: Mapping[str, str]
    ) -> tuple[Answer, bool]:
        """Append content; with `Stream-Closed` among the headers, it is the last."""
        closes = "Stream-Closed" in headers
        changes = {stream: stream.seen.plus(*content, closed=closes)}
        body = stream.body(content) if content else b""
        answer, repeated = self.step("POST", stream, changes, expected, {**stream.headers, **headers}, body)
        assert answer.closed == closes, answer
        if "stream-next-offset" not in answer.headers:
            assert repeated, answer
            answer = self._client.ask("HEAD", stream.path)
        stream.moved(answer, further=bool(content) and not repeated)
        return answer, repeated

    def create(self, stream: Stream, content: Sequence[str], headers: Mapping[str, str] | None = None) -> Answer:
        """Create a stream with its first content."""
        body = stream.body(content) if content else b""
        changes = {stream: Seen(200, tuple(content))}
        answer, _ = self.step("PUT", stream, changes, Expected(201, 200), {**stream.headers, **(headers or {})}, body)
        stream.moved(answer)
        return answer

    # ---- while nothing is asked -------------------------------------------------------------------------------

    def examine(self, client: Client, *, lately: int | None = None) -> None:
        """Hold the streams, or those made lately, to what they must be. The step in doubt was made, or was not."""
        for stream in self.streams[-lately:] if lately else self.streams:
            if stream not in self._doubt:
                seen = read(client, stream)
                assert seen == stream.seen, f"{stream.name}: {seen} instead of {stream.seen}"
        old = {stream: stream.seen for stream in self._doubt}
        found = {stream: read(client, stream) for stream in self._doubt}
        assert found in (old, self._doubt), f"half a step: {found}, neither {old} nor {self._doubt}"
        self._applied = None if old == self._doubt else found == self._doubt


class Producing(Actor):
    """Appends and closes as a numbered producer: a repetition is a duplicate, whatever comes after it."""

    def live(self, name: str) -> None:
        stream = self.stream(name)
        self.create(stream, ())
        epoch = 0
        for epoch in range(self.chance.randint(1, 3)):
            for sequence in range(self.chance.randint(1, 12)):
                self._append(stream, epoch, sequence)
            if epoch:
                self._refused(stream, epoch)
        self._append(stream, epoch + 1, 0)
        if self.chance.random() < 0.5:
            self._append(stream, epoch + 1, 1, CLOSES)
        else:
            headers = {**self._numbered(epoch + 1, 1), **CLOSES}
            self.append(stream, (), Expected(204, 204), headers)
        self._after_the_end(stream, epoch + 1)

    def _numbered(self, epoch: int, sequence: int) -> dict[str, str]:
        return {"Producer-Id": self.name, "Producer-Epoch": str(epoch), "Producer-Seq": str(sequence)}

    def _append(self, stream: Stream, epoch: int, sequence: int, headers: Mapping[str, str] | None = None) -> None:
        content = [json.dumps([epoch, sequence, n]) for n in range(self.chance.randint(1, 3))]
        numbered = self._numbered(epoch, sequence)
        answer, _ = self.append(stream, content, Expected(200, 204), {**numbered, **(headers or {})})
        assert answer.headers["producer-epoch"] == str(epoch), answer
        assert answer.headers["producer-seq"] == str(sequence), answer
        if headers is None and self.chance.random() < 0.2:  # late, and with something else: the first has won
            again = self._client.ask("POST", stream.path, b'"again"', {**stream.headers, **numbered})
            assert (again.status, again.headers["producer-seq"]) == (204, str(sequence)), again

    def _refused(self, stream: Stream, epoch: int) -> None:
        stale = self._client.ask("POST", stream.path, b"1", {**stream.headers, **self._numbered(epoch - 1, 0)})
        assert (stale.status, stale.headers["producer-epoch"]) == (403, str(epoch)), stale
        gap = self._client.ask("POST", stream.path, b"1", {**stream.headers, **self._numbered(epoch, 99)})
        assert (gap.status, gap.headers["producer-received-seq"]) == (409, "99"), gap

    def _after_the_end(self, stream: Stream, epoch: int) -> None:
        headers = {**stream.headers, **CLOSES, **self._numbered(epoch, 1)}
        again = self._client.ask("POST", stream.path, b'"again"', headers)
        assert (again.status, again.closed) == (204, True), again
        late = self._client.ask("POST", stream.path, b"1", {**stream.headers, **self._numbered(epoch, 2)})
        assert (late.status, late.closed, late.offset) == (409, True, stream.offset), late


class Sequenced(Actor):
    """Appends lines with `Stream-Seq`, and closes without a producer: a repetition is refused, and says why."""

    def live(self, name: str) -> None:
        stream = self.stream(name, TEXT)
        self.create(stream, [f"{name} begins"])
        number = 0
        for number in range(self.chance.randint(1, 12)):
            self._append(stream, number, {})
        if self.chance.random() < 0.3:
            self.append(stream, (), Expected(204, 204), CLOSES)
        else:
            answer, repeated = self._append(stream, number + 1, CLOSES)
            if repeated:
                assert answer.offset == stream.offset, answer
        late = self._client.ask("POST", stream.path, b"late\n", TEXT)
        assert (late.status, late.closed, late.offset) == (409, True, stream.offset), late
        if self.chance.random() < 0.3:
            self._delete(stream)

    def _append(self, stream: Stream, number: int, headers: Mapping[str, str]) -> tuple[Answer, bool]:
        content = [f"{number} of {stream.name}", "x" * self.chance.choice([1, 100, 3000])]
        return self.append(stream, content, Expected(204, 409), {"Stream-Seq": f"{number:06}", **headers})

    def _delete(self, stream: Stream) -> None:
        """And create it anew: what was there is not, and offsets go on from where they were."""
        self.step("DELETE", stream, {stream: Seen()}, Expected(204, 404), {})
        self.create(stream, ["anew"])


class Mark(NamedTuple):
    """Where a stream can be forked: an offset, what stands before it, how many messages the request after it has."""

    offset: str
    before: tuple[str, ...]
    following: int


class Forking(Actor):
    """A source, a fork of it and a fork of that, some from within a request; then they are deleted in any order."""

    def live(self, name: str) -> None:
        source = self.stream(f"{name}/source")
        self.create(source, ())
        marks = self._extend(source, "a")
        chosen = self.chance.choice(marks)
        fork = self._fork(source, f"{name}/fork", chosen)
        inherited = [mark for mark in marks if mark.offset < chosen.offset]
        last = self._fork(fork, f"{name}/last", self.chance.choice([*inherited, *self._extend(fork, "a")]))
        self._extend(last, "a")
        self._extend(source, "b")  # which no fork shows
        line = [source, fork, last]
        for stream in self.chance.sample(line, 3 if self.chance.random() < 0.7 else 1):
            self._delete(stream, line)

    def _extend(self, stream: Stream, word: str) -> list[Mark]:
        """Append to it; the marks before each request, and at the end."""
        marks = []
        for number in range(self.chance.randint(2, 4)):
            content = [json.dumps([word, stream.name, number, n]) for n in range(self.chance.randint(1, 3))]
            marks.append(Mark(stream.offset, stream.seen.content, len(content)))
            self.append(stream, content, Expected(204, 409), {"Stream-Seq": f"{word}{number}"})
        return [*marks, Mark(stream.offset, stream.seen.content, 0)]

    def _fork(self, source: Stream, name: str, mark: Mark) -> Stream:
        fork, shown = self.stream(name), len(mark.before)
        part = self.chance.randint(0, mark.following)
        headers = {"Stream-Forked-From": source.path, "Stream-Fork-Offset": mark.offset}
        if part:
            headers["Stream-Fork-Sub-Offset"] = str(part)
        own = [json.dumps(["own", name])] if self.chance.random() < 0.5 else []
        changes = {fork: Seen(200, (*source.seen.content[: shown + part], *own))}
        body = fork.body(own) if own else b""
        answer, _ = self.step("PUT", fork, changes, Expected(201, 200), {**JSON, **headers}, body)
        fork.moved(answer)
        return fork

    def _delete(self, stream: Stream, line: Sequence[Stream]) -> None:
        """Delete one of the line: it is gone for itself while a fork of it lives, with the last of which it goes."""
        changes, held = {}, False
        for one in reversed(line):
            lives = one is not stream and one.seen.status == 200
            changes[one] = one.seen if lives else Seen(410 if held else 404)
            held = held or lives
        self.step("DELETE", stream, changes, Expected(204, changes[stream].status), {})


class Telling(Actor):
    """Appends to one stream as long as the test goes on, and closes it: what readers follow."""

    def __init__(self, name: str, gate: Gate) -> None:
        super().__init__(name, gate)
        self.told = self.stream(name)

    def live(self, name: str) -> None:  # noqa: ARG002 - it has one life
        self.create(self.told, ())
        number = 0
        while not self._gate.ending:
            self._tell(number, {})
            number += 1
        self._tell(number, CLOSES)

    def _tell(self, number: int, headers: Mapping[str, str]) -> None:
        content = [json.dumps([number, n]) for n in range(self.chance.randint(1, 3))]
        numbered = {"Producer-Id": "teller", "Producer-Epoch": "0", "Producer-Seq": str(number)}
        self.append(self.told, content, Expected(200, 204), {**numbered, **headers})
