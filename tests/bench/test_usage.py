"""What processes take."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tailrace.bench.usage import cpu_seconds, family, rss_kb


def test_a_process_is_counted_with_its_children() -> None:
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert {os.getpid(), child.pid} <= set(family([os.getpid()]))
        assert rss_kb([os.getpid()]) >= rss_kb([child.pid]) > 1_000
        child.kill()


def test_cpu_is_what_has_been_used() -> None:
    before = cpu_seconds([os.getpid()])
    used = time.process_time()
    while time.process_time() < used + 0.05:
        pass
    assert cpu_seconds([os.getpid()]) >= before + 0.03  # ticks of 10 ms


def test_what_has_gone_takes_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    assert family([child.pid]) == []
    assert (cpu_seconds([child.pid]), rss_kb([child.pid])) == (0.0, 0)
