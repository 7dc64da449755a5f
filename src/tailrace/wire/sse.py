"""TEMP."""

import base64
from typing import Literal, NamedTuple
from tailrace.core.event import is_text
from tailrace.wire.cloudevents import encode_envelope

Format = Literal["data", "envelope"]
OK = b": ok\n\n"
HEARTBEAT = b":\n\n"


def retry(ms):
    return b"retry: %d\n\n" % ms


def encode_event(event, cursor, form):
    data = (
        encode_envelope(event)
        if form == "envelope"
        else (event.data if is_text(event.content_type) else base64.b64encode(event.data))
    )
    head = b"id: " + cursor.encode() + b"\n"
    if event.type != "message":
        head += b"event: " + event.type.encode() + b"\n"
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    return head + b"data: " + data + b"\n\n"


def control(name, data, cursor=None):
    return b"event: " + name.encode() + (b"\nid: " + cursor.encode() if cursor else b"") + b"\ndata: " + data + b"\n\n"


class ServerSentEvent(NamedTuple):
    type: str
    data: str
    id: str
    retry: int | None


class SseDecoder:
    def __init__(self):
        self.buf = b""
        self.id = ""

    def feed(self, data):
        self.buf += data
        out = []
        while b"\n\n" in self.buf:
            block, self.buf = self.buf.split(b"\n\n", 1)
            t, d = "message", []
            for line in block.split(b"\n"):
                k, _, v = line.partition(b":")
                v = v[1:] if v[:1] == b" " else v
                if k == b"event":
                    t = v.decode()
                elif k == b"data":
                    d.append(v.decode())
                elif k == b"id":
                    self.id = v.decode()
            if d:
                out.append(ServerSentEvent(t, "\n".join(d), self.id, None))
        return out
