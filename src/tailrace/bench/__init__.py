"""The load generator: it measures any server that streams events over HTTP, ours or another's.

A `Target` says how a server is spoken to, a `Load` what is done to it, `Figures` what came of it:

    run(tailrace(Place("127.0.0.1", 4437)), Load(streams=1_000, publishers=64))

It stands beside the client and knows nothing of what a server is inside. Because it shares the machine with what it
measures, it has to be much cheaper than that: one epoll loop over bare sockets reads millions of deliveries a second
(`benchmarks/generator.py`), and the publishers are a process of their own.
"""

from tailrace.bench.figures import Figures
from tailrace.bench.load import Load, run
from tailrace.bench.target import Place, Target, tailrace

__all__ = ["Figures", "Load", "Place", "Target", "run", "tailrace"]
