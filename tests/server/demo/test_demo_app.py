from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tailrace.server.demo import jobs, sources
from tailrace.server.demo.app import PAGES, demo_site
from tailrace.testing.server import running_server
from tailrace.wire.sse_decoder import ServerSentEvent, SseDecoder

STREAM = "/api/v1/events/stream"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    python = tmp_path_factory.mktemp("python")
    (python / "one.py").write_text("1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "TICK_SECONDS", 0.01)
        patch.setattr(jobs, "WORD_SECONDS", 0.001)
        with (
            running_server(make_site=demo_site(folder, python)) as running,
            httpx2.Client(base_url=running.url, timeout=20) as client,
        ):
            assert any(event.type == "message" for event in follow(client, "proof/ticks"))  # the folder is watched now
            yield client


def follow(client: httpx2.Client, topics: str, *, after: str = "earliest") -> Iterator[ServerSentEvent]:
    decoder = SseDecoder()
    with client.stream("GET", STREAM, params={"topics": topics, "from": after}) as response:
        for chunk in response.iter_bytes():
            yield from decoder.feed(chunk)


def types_until(client: httpx2.Client, topics: str, last: str) -> list[str]:
    types = []
    for event in follow(client, topics):
        types.append(event.type)
        if event.type == last:
            break
    return types


@pytest.mark.parametrize("path", PAGES)
def test_the_page_may_load_nothing_from_elsewhere_and_nobody_may_frame_it(client: httpx2.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_has_no_script_or_style_of_its_own(client: httpx2.Client) -> None:
    text = client.get("/").text
    assert "style=" not in text
    assert not re.search(r"<[^>]*\son\w+=", text)
    assert "<script src=" in text


def test_the_native_door_stands_beside_the_page(client: httpx2.Client) -> None:
    assert client.get("/api/v1/topics/demo/about").json()["events"] == 1


def test_the_page_is_told_what_is_watched(client: httpx2.Client, folder: Path) -> None:
    about = next(event for event in follow(client, "demo/about") if event.type == "message")
    assert json.loads(about.data)["folder"] == str(folder)
    assert json.loads(about.data)["command"] == f"echo hello > {folder}/hello.txt"


def test_ticks_count_from_one_without_holes(client: httpx2.Client) -> None:
    ticks = (json.loads(event.data)["n"] for event in follow(client, "proof/ticks") if event.type == "message")
    assert [next(ticks) for _ in range(20)] == list(range(1, 21))


def test_old_ticks_are_not_kept(client: httpx2.Client) -> None:
    config = client.get("/api/v1/topics/proof/ticks").json()["config"]
    assert config["retention"]["max_age_seconds"] == sources.TICKS_KEPT_SECONDS


def test_a_written_file_is_published_as_created(client: httpx2.Client, folder: Path) -> None:
    answer = client.post("/demo/file")
    assert answer.status_code == 201
    event = next(event for event in follow(client, f"files/{answer.json()['file']}") if event.type == "created")
    data = json.loads(event.data)
    file = folder / answer.json()["file"]
    assert data == {"path": file.name, "size": file.stat().st_size, "mtime": file.stat().st_mtime}


def test_the_button_writes_no_more_than_a_few_files(client: httpx2.Client, folder: Path) -> None:
    for _ in range(sources.WRITTEN_FILES + 2):
        client.post("/demo/file")
    assert len(list(folder.glob("tailrace-demo-*.txt"))) == sources.WRITTEN_FILES


def test_the_job_and_the_text_start_with_the_server_and_reach_their_end(client: httpx2.Client) -> None:
    assert types_until(client, "jobs/**", "work.completed")[1] == "work.started"
    assert types_until(client, "texts/**", "work.completed").count("work.chunk") > 100


@pytest.mark.parametrize("button", ["hash", "text"])
def test_a_button_starts_its_work_again_on_a_topic_of_its_own(client: httpx2.Client, button: str) -> None:
    first, second = (started(client, button) for _ in range(2))
    assert first != second
    assert types_until(client, second, "work.completed")[1] == "work.started"


def test_work_that_runs_is_not_started_twice(client: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "WORD_SECONDS", 0.05)
        topic = started(client, "text")
        answer = client.post("/demo/text")
    assert (answer.status_code, answer.json()["code"]) == (409, "running")
    types_until(client, topic, "work.completed")


def test_dropping_a_connection_cuts_it_without_a_word(client: httpx2.Client) -> None:
    events = follow(client, "none", after="latest")
    connection = json.loads(next(events).data)["connection"]
    assert client.post("/demo/drop", params={"connection": connection}).status_code == 200
    with pytest.raises(httpx2.RemoteProtocolError):
        list(events)


def test_dropping_no_connection_says_where_to_find_its_id(client: httpx2.Client) -> None:
    answer = client.post("/demo/drop", params={"connection": "none"})
    assert answer.status_code == 404
    assert "tailrace.open" in answer.json()["detail"]


@pytest.mark.parametrize("button", ["drop", "file", "hash", "text"])
def test_pages_of_other_sites_cannot_press_a_button(client: httpx2.Client, button: str) -> None:
    answer = client.post(f"/demo/{button}", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("button", ["drop", "file", "hash", "text"])
def test_a_name_that_points_to_this_machine_reaches_nothing(client: httpx2.Client, button: str) -> None:
    assert client.post(f"/demo/{button}", headers={"Host": "evil.example"}).status_code == 403


def test_a_button_is_pressed_and_not_fetched(client: httpx2.Client) -> None:
    assert client.get("/demo/file").status_code == 405


def started(client: httpx2.Client, button: str) -> str:
    """Press a button, as soon as what it started before has ended."""
    until = time.monotonic() + 20
    while (answer := client.post(f"/demo/{button}")).status_code == 409:
        assert time.monotonic() < until, answer.text
    return answer.json()["topic"]
