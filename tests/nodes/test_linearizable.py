"""Two nodes that publish into the same topics at once, under faults, give one history that a single log could have."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

from tests.nodes.clients import Client, whole_log
from tests.nodes.linearizability import Contradiction, check
from tests.nodes.node import running_nodes

CLIENTS = 6
TOPICS = ["one", "two", "three"]
FAULTS = 6
"""Faults of one run: nodes are killed and held up in turns."""
CALM_SECONDS = 0.7
"""Between two faults, so that there is something to break."""


def test_two_nodes_under_faults_give_one_history(store: str, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    with running_nodes(tmp_path, store, 2) as nodes:
        clients = [Client(number, nodes, TOPICS, seed) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        for _ in range(FAULTS):
            time.sleep(CALM_SECONDS)
            victim = chance.choice(nodes)
            if chance.random() < 0.5:
                victim.kill()
                victim.start()
            else:
                victim.pause()
                time.sleep(CALM_SECONDS)
                victim.resume()
        time.sleep(CALM_SECONDS)
        for client in clients:
            client.stop()
        logs = [whole_log(node) for node in nodes]
    assert logs[0] == logs[1], "the nodes show different logs"
    operations = sorted([one for client in clients for one in client.operations], key=lambda one: one.began)
    kinds = {operation.code for operation in operations}
    assert kinds >= {"stored", "duplicate", "producer_gap", "condition_failed"}, f"too little happened: {kinds}"
    try:
        check(operations, logs[0])
    except Contradiction:
        (tmp_path / "history.json").write_text(json.dumps([vars(one) for one in operations], default=list))
        raise
