"""Clients that publish into the same topics at once, over all nodes, and write down what was asked and answered."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple
from urllib.parse import urlencode

from tests.nodes.linearizability import Claimed, Condition, Operation, Placed
from tests.nodes.node import Node

ANSWER_SECONDS = 20.0
"""After that nobody waits for an answer any more: its outcome is unknown."""
PAUSE_SECONDS = 0.02
"""Before the next request after one that nobody could answer."""
PRODUCERS = 3


class Answer(NamedTuple):
    status: int
    body: dict[str, object]


class Client(threading.Thread):
    """Asks one node after the other until it is told to stop. What it did is in `operations`."""

    def __init__(self, number: int, nodes: Sequence[Node], topics: Sequence[str], seed: int) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self.operations: list[Operation] = []
        self.failure: BaseException | None = None
        self._number = number
        self._nodes = nodes
        self._topics = dict.fromkeys(topics, 0)
        self._random = random.Random(f"{seed} {number}")
        self._next: dict[tuple[str, str], tuple[int, int]] = {}
        self._over = threading.Event()
        self._count = 0
        self._epoch = ""

    def run(self) -> None:
        try:
            while not self._over.is_set():
                if self._step() is None:
                    time.sleep(PAUSE_SECONDS)
        except BaseException as error:  # noqa: BLE001 - told by `stop`
            self.failure = error

    def stop(self) -> None:
        """End it, and raise what went wrong with it."""
        self._over.set()
        self.join()
        if self.failure is not None:
            raise self.failure

    def _step(self) -> str | None:
        """One operation; its code, or None if its outcome is unknown."""
        name = self._random.choice(list(self._topics))
        topic = f"{name}/{self._topics[name]}"
        code = self._in(topic)
        if code in ("topic_closed", "closed"):
            self._topics[name] += 1
        return code

    def _in(self, topic: str) -> str | None:
        kind = self._random.choices(("plain", "produced", "conditional", "close"), (30, 35, 30, 0.5))[0]
        if kind == "close":
            return self._ask(Operation(topic, None, time.monotonic()), {}).code
        self._count += 1
        operation = Operation(topic, f"{self._number}-{self._count}", time.monotonic())
        if kind == "conditional":
            operation.condition = Condition(frozenset([topic]), self._seen(topic))
        if kind != "produced":
            return self._ask(operation, {}).code
        return self._produce(operation)

    def _produce(self, operation: Operation) -> str | None:
        """Publish as one of a few producers, all of which others are too; ask again what nobody answered."""
        name = f"producer-{self._random.randrange(PRODUCERS)}"
        known = self._next.get((operation.topic, name), (0, 0))
        operation.producer = Claimed(name, *known)
        chance = self._random.random()
        if chance < 0.03:
            operation.producer = Claimed(name, known[0] + 1, 0)
        elif chance < 0.1:
            operation.producer = Claimed(name, known[0], known[1] + 2)
        self._ask(operation, {})
        if operation.code is None and self._random.random() < 0.7:
            operation = Operation(operation.topic, operation.data, time.monotonic(), producer=operation.producer)
            self._ask(operation, {})
        claim = operation.producer
        assert claim is not None
        if operation.code in ("stored", "duplicate"):
            self._next[operation.topic, name] = (claim.epoch, claim.sequence + 1)
        elif operation.code == "producer_gap":
            assert operation.expected is not None
            self._next[operation.topic, name] = (claim.epoch, operation.expected)
        elif operation.code == "stale_producer":
            self._next[operation.topic, name] = (claim.epoch + 1, 0)
        return operation.code

    def _seen(self, topic: str) -> int:
        """The newest position in a topic that this client has heard of, sometimes one that is older."""
        known = [one.position for one in self.operations[-200:] if one.topic == topic and one.position is not None]
        if not known:
            return 0
        return max(known) if self._random.random() < 0.8 else self._random.choice(known)

    # ---- one request --------------------------------------------------------------------------------------

    def _ask(self, operation: Operation, headers: dict[str, str]) -> Operation:
        self.operations.append(operation)
        path = f"/api/v1/topics/{operation.topic}"
        if operation.producer is not None:
            name, epoch, sequence = operation.producer
            headers |= {"Producer-Id": name, "Producer-Epoch": str(epoch), "Producer-Seq": str(sequence)}
        if operation.condition is not None:
            after = f"{self._epoch if operation.condition.after else 0}-{operation.condition.after}"
            headers["Append-Condition"] = urlencode({"topics": ",".join(operation.condition.topics), "after": after})
        if operation.data is None:
            answer = self._send("PATCH", path, {"closed": True}, headers)
        else:
            answer = self._send("POST", f"{path}/events", operation.data, headers)
        if answer is not None and answer.status < 500:
            operation.ended = time.monotonic()
            _read(operation, answer)
            told = answer.body.get("last") or answer.body.get("position")
            self._epoch = str(told or self._epoch).partition("-")[0]
        return operation

    def _send(self, method: str, path: str, body: object, headers: dict[str, str]) -> Answer | None:
        """None: nobody answered. Now and then the connection is cut before anybody could."""
        node = self._random.choice(self._nodes)
        connection = HTTPConnection("127.0.0.1", node.port, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json", **headers})
            if self._random.random() < 0.02:
                return None
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))
        except (OSError, HTTPException, ValueError):
            return None
        finally:
            connection.close()


def _read(operation: Operation, answer: Answer) -> None:
    """Write down what was answered."""
    body = answer.body
    if answer.status < 300 and operation.data is None:
        operation.code = "closed"
    elif answer.status < 300:
        operation.code = "duplicate" if body["duplicate"] else "stored"
        operation.position = _position(body["last"])
    else:
        operation.code = str(body["code"])
        operation.position = _position(body.get("position"))
        expected = body.get("expected")
        operation.expected = expected if isinstance(expected, int) else None


def _position(cursor: object) -> int | None:
    return None if cursor is None else int(str(cursor).partition("-")[2])


def whole_log(node: Node) -> list[Placed]:
    """Every event of the log, in order, as one node tells it."""
    placed: list[Placed] = []
    asked = {"topics": "**", "from": "earliest", "format": "envelope", "wait": "0"}
    while True:
        connection = HTTPConnection("127.0.0.1", node.port, timeout=ANSWER_SECONDS)
        connection.request("GET", f"/api/v1/events/poll?{urlencode(asked)}")
        response = connection.getresponse()
        page = json.loads(response.read())
        connection.close()
        assert response.status == 200, page
        for event, cursor in zip(page["events"], page["cursors"], strict=True):
            placed.append(Placed(_position(cursor) or 0, event["topic"], event["data"]))
        if not page["more"]:
            return placed
        asked.pop("from", None)
        asked["last_event_id"] = page["next"]
