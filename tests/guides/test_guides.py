"""The guides are followed word by word: every block of code is executed, and what they show appears."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.guides.running import Block, Reader, blocks, file_of, typed

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


@pytest.mark.browser
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guide_comes_out_as_it_says(guide: Path, tmp_path: Path) -> None:
    shown = list(blocks(guide.read_text()))
    assert shown, "there is nothing in it to follow"
    reader = Reader(tmp_path)
    try:
        for block in shown:
            reader.follow(block)  # fails where what appears is not what the guide shows
    finally:
        reader.leave()


def test_a_block_that_nobody_executes_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="nobody executes this block"):
        Reader(tmp_path).follow(Block("python", "print(1)\n", 7))


def test_a_line_that_does_not_appear_is_found(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    with pytest.raises(AssertionError, match="'three' did not come"):
        reader.follow(Block("console", "$ echo one; echo two\none\nthree\n", 1))
    reader.leave()


def test_a_command_that_fails_is_found(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    with pytest.raises(AssertionError, match="false"):
        reader.follow(Block("console", "$ false\n", 1))
    reader.leave()


def test_commands_output_and_files_are_told_apart() -> None:
    page = "```python\n# a/b.py\nprint(1)\n```\n\n```console\n$ one \\\n  two\nshown…\n$ three\n^C\n```\n"
    first, second = blocks(page)
    assert (file_of(first), first.line, file_of(second)) == ("a/b.py", 1, None)
    assert typed(second.text) == [("one \\\n  two", ["shown…"], False), ("three", [], True)]
