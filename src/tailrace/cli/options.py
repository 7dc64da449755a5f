"""What commands share: options that say where the server is, how a coroutine is run, and where people are spoken to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tailrace.errors import TailraceError

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_URL = "http://127.0.0.1:4437"

Url = Annotated[str, typer.Option("--url", envvar="TAILRACE_URL", help="Where the server is.")]
Key = Annotated[str | None, typer.Option("--key", envvar="TAILRACE_KEY", help="An API key.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document a line.")]


def run(work: Coroutine[object, object, None]) -> None:
    """Run a command's coroutine. SIGTERM ends it at once and quietly, as Ctrl-C does.

    So does the end of whoever read our output, and that is no failure. It is caught here because typer would make
    exit code 1 of it.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        asyncio.run(work)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to say at exit
        raise typer.Exit from None


@contextmanager
def exit_codes(code: int, *errors: type[TailraceError]) -> Iterator[None]:
    """Have errors of these kinds end the command with this exit code, after their sentence."""
    try:
        yield
    except errors as error:
        console().print(f"tailrace: {error.sentence}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(code) from None


def console() -> Console:
    """Where people are spoken to: stderr, so that results can be piped."""
    from rich.console import Console

    return Console(stderr=True)
