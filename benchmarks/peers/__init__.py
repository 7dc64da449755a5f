"""The servers that Tailrace is compared with, each started the same way: `PEERS[name](topics)` yields a `Peer`.

Nothing of theirs is kept here: `setup.py` fetches what it can into `.peers/`, which git ignores, and what is missing is
left out of a comparison by name. Each runs with the settings that are best for it and fair to the others: one process,
events in memory, no log of requests, no compression.
"""

from __future__ import annotations

from peers import asgi, c_loop, centrifugo, durable_streams, mercure, nchan, ours
from peers.peer import Peer, PeerMissing, Start

PEERS: dict[str, Start] = {
    "Tailrace": ours.start,
    "C write() loop": c_loop.start,
    "nchan": nchan.start,
    "sse-starlette": asgi.sse_starlette,
    "FastAPI SSE": asgi.fastapi,
    "Durable Streams": durable_streams.start,
    "Mercure": mercure.start,
    "Centrifugo": centrifugo.start,
}
LIMIT = "C write() loop"
"""What no server can beat with one write() for each event and subscriber; no peer to be chosen, but the measure."""

__all__ = ["LIMIT", "PEERS", "Peer", "PeerMissing", "Start"]
