"""What a stream means, word for word from the WHATWG HTML standard (9.2.6): slow, plain, over the whole text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tailrace.wire.sse_decoder import ServerSentEvent


@dataclass
class Interpreted:
    """The events, and what the stream leaves behind."""

    events: list[ServerSentEvent] = field(default_factory=list)
    last_event_id: str = ""
    retry: int | None = None
    comments: int = 0


class Interpreter:
    """The buffers of the standard, and its steps by their names there."""

    def __init__(self) -> None:
        self.result = Interpreted()
        self.data = self.event_type = self.identity = ""
        self.given_retry: int | None = None

    def interpret(self, stream: bytes) -> Interpreted:
        text = stream.decode("utf-8", "replace")
        lines = re.split("\r\n|\n|\r", text.removeprefix("\ufeff"))
        for line in lines[:-1]:  # what has no line end is no line, and what has no blank line is no event
            self.line(line)
        return self.result

    def line(self, line: str) -> None:
        if line == "":
            self.dispatch()
        elif line[0] == ":":
            self.result.comments += 1
        elif ":" in line:
            at = line.index(":")
            value = line[at + 1 :]
            self.process(line[:at], value[1:] if value[:1] == " " else value)
        else:
            self.process(line, "")

    def process(self, name: str, value: str) -> None:
        if name == "event":
            self.event_type = value
        if name == "data":
            self.data += value
            self.data += "\n"
        if name == "id" and "\0" not in value:
            self.identity = value
        if name == "retry" and re.fullmatch("[0-9]+", value):
            self.result.retry = self.given_retry = int(value)

    def dispatch(self) -> None:
        self.result.last_event_id = self.identity
        if self.data != "":
            data = self.data[:-1]
            type_ = self.event_type if self.event_type != "" else "message"
            self.result.events.append(ServerSentEvent(type_, data, self.identity, self.given_retry))
        self.data = self.event_type = ""
        self.given_retry = None
