"""What a process of the server is told when it starts, and what it answers. Standard input and output carry it.

The input stays open for as long as the supervisor lives. So whoever finds it at its end knows that the supervisor was
killed, and stops as it would at a signal: no process is left behind.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Final, Literal

import msgspec

from tailrace.server.config import Settings
from tailrace.stores.sqlite_remote.messages import Failed

Role = Literal["writer", "worker"]


class Part(msgspec.Struct, frozen=True):
    """With what a process does its part. `socket` is where the writer is found."""

    settings: Settings
    socket: str
    log_level: int

    def encoded(self) -> bytes:
        """A line."""
        return msgspec.json.encode(self) + b"\n"


class Started(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """It does its part now."""


Answer = Started | Failed
_part_decoder: Final = msgspec.json.Decoder(Part)
_answer_decoder: Final[msgspec.json.Decoder[Answer]] = msgspec.json.Decoder(Answer)


def read_part() -> Part:
    """The part of this process."""
    return _part_decoder.decode(sys.stdin.buffer.readline())


def answer(told: Answer) -> None:
    """Tell the supervisor how it went."""
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    sys.stdout.flush()


def decode_answer(line: bytes) -> Answer:
    """What a process told."""
    return _answer_decoder.decode(line)


def stop_with_supervisor() -> None:
    """Have this process stop in order when the supervisor is no more."""
    loop = asyncio.get_running_loop()
    lifeline = sys.stdin.fileno()

    def ended() -> None:
        if not os.read(lifeline, 1):
            loop.remove_reader(lifeline)
            signal.raise_signal(signal.SIGTERM)

    loop.add_reader(lifeline, ended)
