"""Group commit: what arrives during a commit goes into the next, within bounds, each with its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tailrace.core.event import Draft
from tailrace.errors import Overloaded, StoreClosed, StoreFull, TailraceError, TopicClosed
from tailrace.log.batcher import Batcher
from tailrace.log.limits import LogLimits
from tailrace.log.store import Entry, Receipt

pytestmark = pytest.mark.anyio


class Commits:
    """A store that answers when told to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        self.failure: TailraceError | None = None

    async def __call__(self, entries: Sequence[Entry]) -> Sequence[Receipt | TailraceError]:
        self.batches.append([entry.topic for entry in entries])
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return [
            TopicClosed() if entry.topic == "closed" else Receipt(1, number, number, 1, False, "memory")
            for number, entry in enumerate(entries)
        ]


def entry(topic: str, events: int = 1, size: int = 1) -> Entry:
    return Entry(topic=topic, drafts=[Draft(topic=topic, data=b"x" * size)] * events)


async def submit(batcher: Batcher, *topics: str) -> list[asyncio.Future[Receipt]]:
    answers = [batcher.submit(entry(topic)) for topic in topics]
    await asyncio.sleep(0)
    return answers


async def test_what_arrives_during_a_commit_goes_together_into_the_next() -> None:
    commits = Commits()
    batcher = Batcher(commits, LogLimits())
    first = await submit(batcher, "a")
    rest = await submit(batcher, "b", "c", "d")
    commits.gate.set()
    await asyncio.gather(*first, *rest)
    assert commits.batches == [["a"], ["b", "c", "d"]]


async def test_a_refused_entry_does_not_fail_its_neighbours() -> None:
    commits = Commits()
    commits.gate.set()
    answers = await submit(Batcher(commits, LogLimits()), "a", "closed", "b")
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(result) for result in results] == [Receipt, TopicClosed, Receipt]


async def test_a_failed_commit_fails_its_entries_and_the_next_one_works() -> None:
    commits = Commits()
    commits.gate.set()
    batcher = Batcher(commits, LogLimits())
    commits.failure = StoreFull("no room")
    results = await asyncio.gather(*await submit(batcher, "a", "b"), return_exceptions=True)
    assert [str(result) for result in results] == ["no room", "no room"]
    assert results[0] is not results[1]
    commits.failure = None
    assert isinstance(await batcher.submit(entry("c")), Receipt)


@pytest.mark.parametrize("limits", [LogLimits(batch_events=2), LogLimits(batch_bytes=20)])
async def test_a_batch_is_bounded_by_events_and_by_bytes(limits: LogLimits) -> None:
    commits = Commits()
    commits.gate.set()
    batcher = Batcher(commits, limits)
    answers = [batcher.submit(entry(topic, size=10)) for topic in "abcde"]
    answers.append(batcher.submit(entry("large", events=5, size=10)))
    await asyncio.gather(*answers)
    assert commits.batches == [["a", "b"], ["c", "d"], ["e"], ["large"]]


async def test_what_waits_is_bounded() -> None:
    commits = Commits()
    batcher = Batcher(commits, LogLimits(waiting_bytes=100))
    answer = batcher.submit(entry("a", size=90))
    with pytest.raises(Overloaded, match="90 bytes"):
        batcher.submit(entry("b", size=11))
    commits.gate.set()
    await answer
    assert batcher.waiting_bytes == 0
    await batcher.submit(entry("larger than the bound, and alone", size=200))


async def test_nothing_piles_up_behind_a_store_that_does_not_answer() -> None:
    commits = Commits()
    batcher = Batcher(commits, LogLimits(commit_seconds=0))
    [answer] = await submit(batcher, "a")
    with pytest.raises(Overloaded, match="has not answered"):
        batcher.submit(entry("b"))
    commits.gate.set()
    await answer


async def test_an_entry_is_stored_although_its_publisher_has_gone() -> None:
    commits = Commits()
    batcher = Batcher(commits, LogLimits())
    first, second = await submit(batcher, "a", "b")
    second.cancel()
    commits.gate.set()
    await first
    await batcher.aclose()
    assert [topic for batch in commits.batches for topic in batch] == ["a", "b"]


async def test_closing_finishes_what_was_taken_in_and_takes_in_nothing_more() -> None:
    commits = Commits()
    batcher = Batcher(commits, LogLimits())
    answers = await submit(batcher, "a", "b")
    commits.gate.set()
    await batcher.aclose()
    assert all(isinstance(answer.result(), Receipt) for answer in answers)
    with pytest.raises(StoreClosed):
        batcher.submit(entry("c"))
