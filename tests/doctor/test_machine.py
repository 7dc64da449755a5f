"""What a machine allows is read from /proc, and what is too little is said with the setting that raises it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import httpx2
import pytest

from tailrace.doctor import Bounds, Finding, Verdict
from tailrace.doctor.machine import Machine, is_here

HERE = httpx2.URL("http://127.0.0.1:4437")
ELSEWHERE = httpx2.URL("https://tailrace.example.com")


def proc(folder: Path, *, name: str = "tailrace", files: str = "1024", waiting: str = "128\n") -> Path:
    """A /proc in which process 7 listens on port 4437."""
    (folder / "net").mkdir(parents=True)
    (folder / "net" / "tcp").write_text(
        "heading\n 0: 0100007F:1155 0 0A 0 0 0 0 0 4242 1\n 1: 0100007F:1155 0 01 0 0 0 0 0 99\n"
    )
    (folder / "sys/net/core").mkdir(parents=True)
    (folder / "sys/net/core/somaxconn").write_text(waiting)
    (folder / "7" / "fd").mkdir(parents=True)
    (folder / "7" / "fd" / "3").symlink_to("socket:[4242]")
    (folder / "7" / "comm").write_text(f"{name}\n")
    (folder / "7" / "limits").write_text(
        f"Limit  Soft Limit  Hard Limit  Units\nMax open files            {files}  {files}  files\n"
    )
    (folder / "8" / "fd").mkdir(parents=True)
    return folder


def findings(folder: Path, address: httpx2.URL = HERE, *pids: int) -> dict[str, Finding]:
    return {one.check: one for one in Machine(Bounds(), folder).findings(address, pids)}


def test_a_server_that_may_open_few_files_is_found_by_its_port(tmp_path: Path) -> None:
    found = findings(proc(tmp_path / "proc"))["files of the server"]
    assert found.verdict is Verdict.WARNING
    assert found.measured.startswith("tailrace (process 7) may have 1,024 files open")
    assert "LimitNOFILE=1048576" in found.change


def test_nginx_has_a_directive_of_its_own(tmp_path: Path) -> None:
    assert "worker_rlimit_nofile" in findings(proc(tmp_path / "proc", name="nginx"))["files of the server"].change


@pytest.mark.parametrize(("files", "said"), [("unlimited", "any number of files"), ("65536", "65,536 files")])
def test_many_files_are_enough(tmp_path: Path, files: str, said: str) -> None:
    found = findings(proc(tmp_path / "proc", files=files))["files of the server"]
    assert (found.verdict, said in found.measured) == (Verdict.OK, True)


def test_a_short_queue_of_the_kernel_is_found(tmp_path: Path) -> None:
    found = findings(proc(tmp_path / "proc"))["waiting connections"]
    assert found.verdict is Verdict.WARNING
    assert "`sysctl -w net.core.somaxconn=4096`" in found.change


def test_a_long_one_is_fine(tmp_path: Path) -> None:
    assert findings(proc(tmp_path / "proc", waiting="4096\n"))["waiting connections"].verdict is Verdict.OK


def test_a_process_that_is_given_is_looked_at_wherever_the_address_is(tmp_path: Path) -> None:
    found = findings(proc(tmp_path / "proc"), ELSEWHERE, 7)
    assert found["files of the server"].verdict is Verdict.WARNING


def test_of_another_machine_nothing_is_said(tmp_path: Path) -> None:
    assert set(findings(proc(tmp_path / "proc"), ELSEWHERE)) == {"files of this process"}


def test_where_there_is_no_proc_nothing_is_checked(tmp_path: Path) -> None:
    found = findings(tmp_path / "nothing")
    assert found["files of the server"].verdict is Verdict.UNCHECKED
    assert found["waiting connections"].verdict is Verdict.UNCHECKED


@pytest.mark.parametrize("limits", [None, "nothing of files\n"])
def test_a_process_that_does_not_say_its_limits_is_not_checked(tmp_path: Path, limits: str | None) -> None:
    folder = proc(tmp_path / "proc")
    (folder / "7" / "limits").unlink()
    if limits is not None:
        (folder / "7" / "limits").write_text(limits)
    assert findings(folder)["files of the server"].verdict is Verdict.UNCHECKED


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells")
def test_who_listens_here_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert Machine(Bounds()).listeners(listening.getsockname()[1]) == [os.getpid()]


@pytest.mark.parametrize(
    ("host", "here"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.1.2.3", False)]
)
def test_this_machine_is_known_by_its_loopback(host: str, here: bool) -> None:
    assert is_here(host) is here
