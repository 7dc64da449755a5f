"""The session monitor's feeder: whatever dies, each change is in the stream once, and in order."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.examples.monitoring import EXAMPLE, STREAM, Feeding, Serving, story, wait_for

from tailrace.testing import Drop, Faults, Stall, Status

CHANGES = 60
FENCED = 3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    server = Serving(f"sqlite:///{tmp_path}/log.db")
    yield server
    server.stop()


def test_the_story_is_the_same_each_time_and_has_what_the_page_is_to_show() -> None:
    changes = story(CHANGES)
    assert changes == story(CHANGES)
    states = [change["value"]["state"] for change in changes if "value" in change]
    assert {"idle", "working", "waiting", "needs-approval", "done"} == set(states)
    assert {change["headers"]["operation"] for change in changes} == {"insert", "update", "delete"}
    assert [change["headers"]["txid"] for change in changes] == [str(number + 1) for number in range(CHANGES)]


def test_what_the_feeder_writes_is_the_story(server: Serving) -> None:
    assert Feeding("feeder.py", server.url, changes=CHANGES).end() == 0
    written = [message for message in server.changes() if message["type"] == "session"]
    for message in written:
        assert message["headers"].pop("timestamp")
        assert message["headers"].pop("offset")
    assert written == story(CHANGES)


def test_a_feeder_that_is_killed_again_and_again_writes_each_change_once(server: Serving) -> None:
    supervisor = Feeding("supervise.py", server.url, pause=0.01, changes=CHANGES)
    for start in (1, 2, 3):
        supervisor.kill_feeder(start)
    assert supervisor.end() == 0
    assert server.numbers() == list(range(1, CHANGES + 1))
    assert len(supervisor.processes()) == 4


def test_a_feeder_that_dies_before_its_last_answer_comes_is_resumed_after_that_change(server: Serving) -> None:
    """Its last request is stored, and it cannot know."""
    with Faults(server.origin) as faults:
        feeder = Feeding("feeder.py", f"{faults.url}{STREAM}", pause=0.02, changes=CHANGES)
        wait_for(lambda: len(server.numbers()) > 5, "the first changes")
        faults.set(Stall())
        wait_for(lambda: faults.statistics().stalled, "a request without an answer")
        stored = len(server.numbers())
        feeder.kill_feeder(1)
        feeder.end()
    again = Feeding("feeder.py", server.url, changes=CHANGES)
    assert again.end() == 0
    assert f"goes on after change {stored}" in again.printed
    assert server.numbers() == list(range(1, CHANGES + 1))


def test_a_new_feeder_fences_the_old_one_off_before_it_looks_what_is_stored(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other way round, a late request of the old one could come between, and its change would be written twice."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    feeder = importlib.import_module("feeder")
    fenced: list[str] = []

    def write_late(request: httpx2.Request) -> None:
        if request.method == "GET" and not fenced:
            with pytest.raises(feeder.Fenced):
                old.write(story(2)[1])
            fenced.append("the old one")

    with httpx2.Client() as http, httpx2.Client(event_hooks={"request": [write_late]}) as other:
        old = feeder.Feeder(server.url, http)
        assert old.take_over() == 0
        old.write(story(1)[0])
        assert feeder.Feeder(server.url, other).take_over() == 1
    assert fenced
    assert server.numbers() == [1]


def test_requests_whose_answers_are_lost_are_stored_once(server: Serving) -> None:
    with Faults(server.origin, seed=1) as faults:
        faults.set(Drop(after_bytes=(0, 900), connections=8), Status(503, times=2))
        feeder = Feeding("feeder.py", f"{faults.url}{STREAM}", changes=CHANGES)
        assert feeder.end() == 0
        assert faults.cuts == 8
    assert server.numbers() == list(range(1, CHANGES + 1))


def test_a_feeder_waits_for_a_server_that_is_away(server: Serving) -> None:
    feeder = Feeding("feeder.py", server.url, pause=0.01, changes=CHANGES)
    wait_for(lambda: len(server.numbers()) > 5, "the first changes")
    server.stop()
    wait_for(lambda: "trying again" in feeder.printed, "the feeder's waiting")
    server.start()
    assert feeder.end() == 0
    assert server.numbers() == list(range(1, CHANGES + 1))


def test_a_feeder_whose_place_is_taken_stops_and_is_not_started_again(server: Serving) -> None:
    old = Feeding("supervise.py", server.url, pause=0.05)
    wait_for(lambda: len(server.numbers()) > 3, "the first changes")
    new = Feeding("feeder.py", server.url, changes=CHANGES)
    assert old.end() == FENCED
    assert new.end() == 0
    assert len(old.processes()) == 1
    assert server.numbers() == list(range(1, CHANGES + 1))


def test_a_feeder_whose_stream_is_deleted_begins_anew(server: Serving) -> None:
    supervisor = Feeding("supervise.py", server.url, pause=0.01, changes=CHANGES)
    wait_for(lambda: len(server.numbers()) > 3, "the first changes")
    assert httpx2.delete(server.url).status_code == 204
    assert supervisor.end() == 0
    assert server.numbers() == list(range(1, CHANGES + 1))
    assert "not as it was left" in supervisor.printed


def test_a_supervisor_that_is_told_to_stop_takes_the_feeder_along(server: Serving) -> None:
    supervisor = Feeding("supervise.py", server.url, pause=0.01)
    wait_for(lambda: len(server.numbers()) > 3, "the first changes")
    supervisor.stop()
    [process] = supervisor.processes()
    assert not Path(f"/proc/{process}").exists()
