"""Where the file of a node's replica stands, and what stands beside it for a while."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory


class Folder:
    """Where a node's replica stands: in a file that is kept, or in a private folder that goes with the process."""

    def __init__(self, kept: Path | None) -> None:
        self._private = None if kept else TemporaryDirectory(prefix="tailrace-")
        self.path: Path = kept or Path(self._private.name if self._private else "") / "replica.db"

    def clear(self) -> None:
        """Remove the file, so that a new one is begun."""
        for end in ("", "-wal", "-shm", "-copy"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)

    @property
    def copy(self) -> Path:
        """For a copy, while it is needed."""
        return self.path.with_name(self.path.name + "-copy")

    @property
    def filling(self) -> Path:
        """For a log that is copied into the journal, until that is finished."""
        return self.path.with_name(self.path.name + "-filling")

    @property
    def is_kept(self) -> bool:
        """Whether it is there when the process has gone."""
        return self._private is None

    def put(self, other: Path) -> None:
        """Put another file in its place."""
        self.path.with_name(self.path.name + "-wal").unlink(missing_ok=True)
        self.path.with_name(self.path.name + "-shm").unlink(missing_ok=True)
        other.replace(self.path)

    def leave(self) -> None:
        """Remove what is not kept."""
        if self._private is not None:
            with suppress(OSError):
                self._private.cleanup()
