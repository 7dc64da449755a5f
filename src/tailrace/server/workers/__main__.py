"""Where a process of the server begins, started by `supervisor`: `python -m tailrace.server.workers worker`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Coroutine

from tailrace.errors import TailraceError
from tailrace.server.run import run
from tailrace.server.workers.part import Part, answer, read_part
from tailrace.server.workers.worker import work
from tailrace.server.workers.writer import write
from tailrace.stores.sqlite_remote.messages import failed

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main() -> None:
    """Do the part that is named, with what standard input tells, until told to stop."""
    does: dict[str, Callable[[Part], Coroutine[None, None, None]]] = {"worker": work, "writer": write}
    part = read_part()
    logging.basicConfig(level=part.log_level, format=LOG_FORMAT)
    try:
        run(does[sys.argv[1]](part))
    except TailraceError as error:
        answer(failed(error))
        sys.exit(1)


main()
