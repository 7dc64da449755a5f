"""Changes of files under a folder, as events: `created`, `updated` or `deleted` on `files/{path}`.

Which of the three it was is read off the disk once the system has told of a change: what it tells of several changes
that come close together is neither complete nor in order.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from watchfiles import Change, awatch

from tailrace.core.event import Draft
from tailrace.core.topic import check_topic
from tailrace.errors import InvalidTopic, TailraceError
from tailrace.log.log import Log
from tailrace.log.store import Entry

logger: logging.Logger = logging.getLogger(__name__)

REMEMBERED_FILES = 10_000
"""How many files are remembered as they were last told of, so that one change is not told twice."""
_NOT_IN_TOPICS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029,*?#%\ud800-\udfff]")


class FileChange(NamedTuple):
    """What happened to a file. `size` in bytes and `mtime` in seconds since 1970 are None when it is gone."""

    type: str
    path: str
    size: int | None
    mtime: float | None


class Folder:
    """A folder whose changes are told."""

    def __init__(self, root: Path) -> None:
        self.root: Path = root.resolve()
        self._told: dict[Path, tuple[int, float]] = {}

    async def follow(self, log: Log) -> None:
        """Publish every change from now on, until cancelled."""
        async for batch in awatch(self.root):
            changes = await asyncio.to_thread(self.look, batch)
            entries = [_entry(change) for change in changes]
            for result in await log.publish_many(entries):
                if isinstance(result, TailraceError):
                    logger.warning("a file's change could not be published: %s", result.sentence)

    def look(self, batch: Iterable[tuple[Change, str]]) -> list[FileChange]:
        """What has become of the files that the system named, in order of their names."""
        named: dict[Path, set[Change]] = {}
        for change, path in batch:
            named.setdefault(Path(path), set()).add(change)
        found = (self._look_at(path, named[path]) for path in sorted(named))
        return [change for change in found if change is not None]

    def _look_at(self, path: Path, changes: set[Change]) -> FileChange | None:
        shown = str(path.relative_to(self.root)).encode(errors="replace").decode()
        try:
            now = path.stat(follow_symlinks=False)
        except OSError:
            known = self._told.pop(path, None) is not None
            return FileChange("deleted", shown, None, None) if known or changes == {Change.deleted} else None
        if not stat.S_ISREG(now.st_mode):
            return None
        seen = (now.st_size, now.st_mtime)
        before = self._told.get(path)
        if before == seen:
            return None
        if len(self._told) >= REMEMBERED_FILES:
            self._told.clear()
        self._told[path] = seen
        new = before is None and Change.added in changes
        return FileChange("created" if new else "updated", shown, *seen)


def topic_of(path: str) -> str:
    """The topic of a file. What topics cannot contain is percent-encoded; a path too long or deep becomes its hash."""
    topic = "files/" + _NOT_IN_TOPICS.sub(lambda hit: quote(hit[0], safe="", errors="replace"), path)
    try:
        return check_topic(topic)
    except InvalidTopic:
        return "files/" + hashlib.sha256(path.encode()).hexdigest()


def _entry(change: FileChange) -> Entry:
    data = msgspec.json.encode({"path": change.path, "size": change.size, "mtime": change.mtime})
    topic = topic_of(change.path)
    return Entry(topic=topic, drafts=[Draft(topic=topic, type=change.type, data=data)])
