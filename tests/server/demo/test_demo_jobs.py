from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from tailrace.server.demo import jobs
from tailrace.server.demo.jobs import STAGES, hash_files, zen


class Told:
    """Keeps what a job tells; `after` is called at each message."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.progress_of: dict[str, list[tuple[float | None, str]]] = {}
        self.after = lambda: None

    def stage(self, name: str) -> None:
        self.stages.append(name)
        self.progress_of[name] = []

    def progress(self, percent: float | None, message: str = "") -> None:
        self.progress_of[self.stages[-1]].append((percent, message))
        self.after()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(jobs, "TOLD_SECONDS", 0.0)
    return Told()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name, text in (("a", "same"), ("b", "same"), ("sub/c", "other")):
        (tmp_path / name).write_text(text)
    (tmp_path / "link").symlink_to("a")
    return tmp_path


def test_every_file_is_hashed_and_links_are_not_followed(root: Path, told: Told) -> None:
    result = hash_files(root, told, threading.Event())
    assert (result["files"], result["distinct"], result["bytes"], result["unreadable"]) == (3, 2, 13, 0)


def test_the_hash_of_all_together_is_of_names_and_hashes_in_order(root: Path, told: Told) -> None:
    whole = hashlib.sha256()
    for name, text in (("a", b"same"), ("b", b"same"), ("sub/c", b"other")):
        whole.update(name.encode() + b"\0" + hashlib.sha256(text).digest())
    assert hash_files(root, told, threading.Event())["sha256"] == whole.hexdigest()


def test_the_stages_are_told_in_order_and_progress_ends_at_a_hundred(root: Path, told: Told) -> None:
    hash_files(root, told, threading.Event())
    assert tuple(told.stages) == STAGES
    percents = [percent for percent, _ in told.progress_of["hash"]]
    assert percents == sorted(percents)
    assert told.progress_of["hash"][-1] == (100, "3 of 3 files, 0.0 MB: sub/c")


def test_how_many_files_were_found_is_told_while_listing(root: Path, told: Told) -> None:
    hash_files(root, told, threading.Event())
    assert (None, "3 files found") in told.progress_of["list"]


def test_progress_is_told_no_more_often_than_it_can_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "TOLD_SECONDS", 3600.0)
    told = Told()
    hash_files(root, told, threading.Event())
    assert {stage: len(progress) for stage, progress in told.progress_of.items()} == {
        "list": 1,
        "hash": 1,
        "summarise": 0,
    }


def test_a_file_that_cannot_be_read_is_counted_and_left_out(root: Path, told: Told) -> None:
    told.after = lambda: (root / "b").unlink(missing_ok=True)
    result = hash_files(root, told, threading.Event())
    assert (result["files"], result["unreadable"]) == (2, 1)


def test_an_empty_folder_has_nothing_to_hash(tmp_path: Path, told: Told) -> None:
    assert hash_files(tmp_path, told, threading.Event())["files"] == 0


@pytest.mark.parametrize("stage", ["list", "hash"])
def test_it_stops_before_the_next_file_when_it_is_asked_to(root: Path, told: Told, stage: str) -> None:
    stopping = threading.Event()
    told.after = lambda: stopping.set() if told.stages[-1] == stage else None
    assert hash_files(root, told, stopping)["files"] < 3


def test_the_text_is_the_zen_of_python() -> None:
    assert zen().startswith("The Zen of Python, by Tim Peters\n\nBeautiful is better than ugly.")


def test_the_text_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    zen()
    assert capsys.readouterr().out == ""
