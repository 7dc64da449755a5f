"""What processes on this machine take, from Linux's /proc: CPU and memory, their children included."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_UTIME, _STIME = 11, 12
"""Fields of /proc/<pid>/stat after the command's name (proc(5)), which may hold spaces and brackets itself."""


def family(pids: Iterable[int]) -> list[int]:
    """The processes and all their descendants that are there."""
    found: list[int] = []
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found and (_PROC / str(pid)).exists():
            found.append(pid)
            for children in (_PROC / str(pid) / "task").glob("*/children"):
                waiting += map(int, children.read_text().split())
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of user and kernel so far, to 10 ms."""
    ticks = 0
    for pid in family(pids):
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[_UTIME]) + int(fields[_STIME])
    return ticks / _TICKS_PER_SECOND


def rss_kb(pids: Iterable[int]) -> int:
    """Resident memory. What processes share is counted for each."""
    lines = [line for pid in family(pids) for line in (_PROC / str(pid) / "status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
