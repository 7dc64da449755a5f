from __future__ import annotations

from pathlib import Path

import pytest
from watchfiles import Change

from tailrace.core.topic import check_topic
from tailrace.server.demo import files
from tailrace.server.demo.files import FileChange, Folder, topic_of


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def seen(folder: Folder, *changes: tuple[Change, str]) -> list[tuple[str, str]]:
    batch = [(change, str(folder.root / name)) for change, name in changes]
    return [(change.type, change.path) for change in folder.look(batch)]


def test_a_new_file_is_created_with_its_size(folder: Folder) -> None:
    (folder.root / "a.txt").write_text("four")
    (change,) = folder.look([(Change.added, str(folder.root / "a.txt"))])
    assert change == FileChange("created", "a.txt", 4, (folder.root / "a.txt").stat().st_mtime)


def test_a_file_made_and_written_at_once_is_created_once(folder: Folder) -> None:
    (folder.root / "a.txt").write_text("four")
    assert seen(folder, (Change.modified, "a.txt"), (Change.added, "a.txt")) == [("created", "a.txt")]


def test_what_has_been_told_is_not_told_again(folder: Folder) -> None:
    (folder.root / "a.txt").write_text("four")
    seen(folder, (Change.added, "a.txt"))
    assert seen(folder, (Change.modified, "a.txt")) == []


def test_another_size_is_an_update_also_when_the_system_calls_the_file_new(folder: Folder) -> None:
    (folder.root / "a.txt").write_text("four")
    seen(folder, (Change.added, "a.txt"))
    (folder.root / "a.txt").write_text("longer")
    assert seen(folder, (Change.added, "a.txt")) == [("updated", "a.txt")]


def test_a_file_that_was_there_before_is_updated_by_its_first_change(folder: Folder) -> None:
    (folder.root / "a.txt").write_text("four")
    assert seen(folder, (Change.modified, "a.txt")) == [("updated", "a.txt")]


def test_a_file_that_is_gone_is_deleted(folder: Folder) -> None:
    assert folder.look([(Change.deleted, str(folder.root / "a.txt"))]) == [FileChange("deleted", "a.txt", None, None)]


def test_a_file_that_came_and_went_unseen_is_not_told(folder: Folder) -> None:
    assert seen(folder, (Change.added, "a.txt"), (Change.deleted, "a.txt")) == []


def test_a_known_file_that_was_changed_and_removed_at_once_is_deleted(folder: Folder) -> None:
    (folder.root / "a.txt").write_text("four")
    seen(folder, (Change.added, "a.txt"))
    (folder.root / "a.txt").unlink()
    assert seen(folder, (Change.modified, "a.txt"), (Change.deleted, "a.txt")) == [("deleted", "a.txt")]


def test_folders_and_links_are_not_files(folder: Folder) -> None:
    (folder.root / "sub").mkdir()
    (folder.root / "link").symlink_to("/etc/hostname")
    assert seen(folder, (Change.added, "sub"), (Change.added, "link")) == []


def test_files_of_one_batch_come_in_order_of_name(folder: Folder) -> None:
    for name in ("b", "a", "c"):
        (folder.root / name).write_text("x")
    assert [path for _, path in seen(folder, *((Change.added, name) for name in ("b", "a", "c")))] == ["a", "b", "c"]


def test_no_more_files_are_remembered_than_the_bound(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "REMEMBERED_FILES", 3)
    for number in range(10):
        (folder.root / str(number)).write_text("x")
        seen(folder, (Change.added, str(number)))
        assert len(folder._told) <= 3


@pytest.mark.parametrize(
    ("path", "topic"),
    [
        ("a.txt", "files/a.txt"),
        ("deep/er/a b.txt", "files/deep/er/a b.txt"),
        ("what?.txt", "files/what%3F.txt"),
        ("100%,*#", "files/100%25%2C%2A%23"),
        ("line\nbreak", "files/line%0Abreak"),
    ],
)
def test_a_path_becomes_a_topic(path: str, topic: str) -> None:
    assert topic_of(path) == check_topic(topic)


@pytest.mark.parametrize("path", ["x" * 600, "/".join(["deep"] * 40)])
def test_a_path_too_long_or_too_deep_for_a_topic_becomes_its_hash(path: str) -> None:
    assert len(topic_of(path)) == len("files/") + 64
    assert topic_of(path) == check_topic(topic_of(path))


def test_a_name_that_is_not_unicode_is_told_with_question_marks(folder: Folder) -> None:
    name = b"caf\xe9.txt".decode(errors="surrogateescape")
    (folder.root / name).write_text("x")
    assert seen(folder, (Change.added, name)) == [("created", "caf?.txt")]
    assert check_topic(topic_of("caf?.txt")) == "files/caf%3F.txt"
