"""This machine: how many files processes may open, and how many connections the kernel lets wait.

Only Linux tells (`/proc`); of other processes, only those of the same user, or to root.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import httpx2

from tailrace.doctor.crowd import files_allowed
from tailrace.doctor.finding import Bounds, Finding, Verdict

PROC: Final = Path("/proc")
_LISTENS: Final = "0A"
_FILES: Final = re.compile(r"^Max open files +(\S+) +(\S+)", re.MULTILINE)


class Machine:
    """What `/proc` says, for as far as it says it."""

    def __init__(self, bounds: Bounds, proc: Path = PROC) -> None:
        self._bounds = bounds
        self._proc = proc

    def findings(self, address: httpx2.URL, pids: Sequence[int]) -> Iterator[Finding]:
        """Limits of this process; and of those that serve an address, and the kernel's, if that is this machine."""
        yield self._own_files()
        here = is_here(address.host)
        if not here and not pids:
            return
        port = address.port or (443 if address.scheme == "https" else 80)
        found = [*pids, *(pid for pid in self.listeners(port) if pid not in pids)] if here else list(pids)
        if not found:
            yield _unchecked("files of the server", f"who listens on port {port} cannot be seen from here")
        for pid in found:
            yield self._files_of(pid)
        yield self._waiting()

    def _own_files(self) -> Finding:
        allowed = files_allowed(self._bounds.open_files)
        return self._files("files of this process", "the doctor", allowed, "`ulimit -n 65536`")

    def _files_of(self, pid: int) -> Finding:
        try:
            name = (self._proc / str(pid) / "comm").read_text().strip()
            limits = _FILES.search((self._proc / str(pid) / "limits").read_text())
        except OSError as error:
            return _unchecked("files of the server", f"process {pid}: {error.strerror}")
        if limits is None:
            return _unchecked("files of the server", f"process {pid} does not say its limits")
        allowed = 1 << 62 if limits[1] == "unlimited" else int(limits[1])
        change = "`LimitNOFILE=1048576` in its systemd unit, or `ulimit -n 1048576` where it is started"
        if name == "nginx":
            change = "`worker_rlimit_nofile 65536;` in nginx.conf"
        return self._files("files of the server", f"{name} (process {pid})", allowed, change)

    def _files(self, check: str, who: str, allowed: int, change: str) -> Finding:
        shown = "any number of files" if allowed >= 1 << 60 else f"{allowed:,} files"
        measured = f"{who} may have {shown} open"
        if allowed >= self._bounds.open_files:
            return Finding(check, Verdict.OK, measured)
        return Finding(check, Verdict.WARNING, f"{measured}, and a stream is one (two in a proxy)", change)

    def _waiting(self) -> Finding:
        """New connections beyond it are dropped while a server is busy, as when all its readers come back at once."""
        check = "waiting connections"
        try:
            allowed = int((self._proc / "sys/net/core/somaxconn").read_text())
        except (OSError, ValueError):
            return _unchecked(check, "the kernel does not say")
        measured = f"the kernel lets {allowed:,} wait for a server"
        if allowed >= self._bounds.waiting_connections:
            return Finding(check, Verdict.OK, measured)
        change = f"`sysctl -w net.core.somaxconn={self._bounds.waiting_connections}`, and in /etc/sysctl.d"
        return Finding(check, Verdict.WARNING, measured, change)

    def listeners(self, port: int) -> list[int]:
        """The processes that listen on a port of this machine, as far as they may be seen."""
        inodes = {inode for table in ("tcp", "tcp6") for inode in self._listening(table, port)}
        if not inodes:
            return []
        marks = {f"socket:[{inode}]" for inode in inodes}
        return sorted(int(one.name) for one in self._proc.glob("[0-9]*") if self._holds(one, marks))

    def _listening(self, table: str, port: int) -> Iterator[str]:
        with suppress(OSError):
            for line in (self._proc / "net" / table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                    yield words[9]

    def _holds(self, process: Path, marks: set[str]) -> bool:
        with suppress(OSError):
            for file in (process / "fd").iterdir():
                with suppress(OSError):
                    if str(file.readlink()) in marks:
                        return True
        return False


def is_here(host: str) -> bool:
    """Whether a host is this machine, by a loopback address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", socket.gethostname())


def _unchecked(check: str, why: str) -> Finding:
    return Finding(check, Verdict.UNCHECKED, why)
