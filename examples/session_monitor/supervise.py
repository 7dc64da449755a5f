"""Keeps the feeder alive: starts it again when it dies, sooner at first and later if it keeps dying.

    python examples/session_monitor/supervise.py [what the feeder takes]

In production this is your service manager's work (README.md has a unit for systemd); what it must do is the same.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from feeder import FENCED

FEEDER: Final = Path(__file__).with_name("feeder.py")
WAIT_SECONDS: Final = (0.25, 30.0)
"""How long to wait before a new start: at first, and at most. Each wait is twice the one before."""
WELL_SECONDS: Final = 10.0
"""A feeder that lived so long was well: the next wait is the first again."""
STOP_SECONDS: Final = 5.0


def supervise(command: list[str]) -> int:
    """Run a command until it is done, or must not run again; answer its exit code."""
    wait, most = WAIT_SECONDS
    while True:
        began = time.monotonic()
        code = run(command)
        if code in (0, FENCED):
            return code
        if time.monotonic() - began > WELL_SECONDS:
            wait = WAIT_SECONDS[0]
        print(f"supervisor: the feeder has died ({code}), it starts again in {wait:g} s", flush=True)
        time.sleep(wait)
        wait = min(2 * wait, most)


def run(command: list[str]) -> int:
    """Run a command to its end, and not beyond our own."""
    process = subprocess.Popen(command)  # noqa: S603 - our own feeder, with the arguments of whoever started us
    try:
        return process.wait()
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal handlers are given
    sys.exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    sys.exit(supervise([sys.executable, str(FEEDER), *sys.argv[1:]]))
