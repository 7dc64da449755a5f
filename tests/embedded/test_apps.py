"""A log inside somebody's application, on real servers: streams, who may read them, and a stop that nobody notices."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx2
import pytest
from tests.embedded.serving import Listening, Served, served

ANN = {"x-user": "ann"}
STREAM = "/live/events/stream?topics=ann/*"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served("uvicorn", "plain", tmp_path_factory.mktemp("plain")) as running:
        yield running


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served("uvicorn", "fast", tmp_path_factory.mktemp("fast")) as running:
        yield running


@pytest.mark.parametrize("server", ["uvicorn", "uvicorn-workers", "uvicorn-reload", "hypercorn", "granian"])
@pytest.mark.parametrize("app", ["plain", "fast"])
def test_a_stop_ends_streams_cleanly_and_is_not_held_up_by_them(server: str, app: str, tmp_path: Path) -> None:
    with served(server, app, tmp_path) as running:
        streams = [Listening(running.url + STREAM, headers=ANN) for _ in range(5)]
        for stream in streams:
            stream.wait_for("tailrace.open")
        httpx2.post(f"{running.url}/say/ann", params={"text": "hello"}, timeout=30)
        for stream in streams:
            stream.wait_for("data: hello")
        running.terminate()
        for stream in streams:
            stream.wait_for("tailrace.drain")
            stream.join()
            assert stream.error is None, "the answer ended in its middle"
        running.wait()
        assert "Traceback" not in running.output
        assert "ERROR" not in running.output
    assert server == "uvicorn-workers" or not (tmp_path / "log.db-wal").exists(), "the log was closed"


def test_a_reload_ends_streams_and_the_next_process_goes_on_with_the_log(tmp_path: Path) -> None:
    (tmp_path / "watched.py").write_text("")
    with served("uvicorn-reload", "plain", tmp_path) as running:
        stream = Listening(running.url + STREAM, headers=ANN)
        cursor = stream.wait_for("id: ").removeprefix("id: ")
        changes = count()

        def change() -> None:  # more than once: the server may not watch yet
            (tmp_path / "watched.py").write_text(f"changed = {next(changes)}")

        change()
        stream.wait_for("tailrace.drain", meanwhile=change)
        stream.join()
        assert stream.error is None
        running.wait_ready()
        assert httpx2.post(f"{running.url}/say/ann", params={"text": "again"}, timeout=30).status_code == 200
        Listening(running.url + STREAM, headers={**ANN, "last-event-id": cursor}).wait_for("data: again")
        running.terminate()
        running.wait()
        assert "Traceback" not in running.output


def test_several_workers_share_one_log(tmp_path: Path) -> None:
    with served("uvicorn-workers", "plain", tmp_path) as running:
        streams = [Listening(running.url + STREAM, headers=ANN) for _ in range(8)]
        for stream in streams:
            stream.wait_for("tailrace.open")
        for number in range(8):
            httpx2.post(f"{running.url}/say/ann", params={"text": f"{number}!"}, timeout=30)
        for stream in streams:
            for number in range(8):
                assert stream.wait_for(f"data: {number}!") == f"data: {number}!"


@pytest.mark.parametrize("app", ["plain", "fast"])
def test_dependencies_say_who_may_do_what(app: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(app).url
    assert httpx2.get(url + STREAM).json() == {"detail": "who are you?"}
    narrowed = httpx2.get(f"{url}/live/events/history?topics=**", headers={"x-user": "bob"})
    assert narrowed.json()["events"] == []
    refused = httpx2.get(f"{url}/live/events/stream?topics=ann/said", headers={"x-user": "bob"})
    assert (refused.status_code, refused.json()["detail"]) == (403, "bob may not read 'ann/said'.")
    published = httpx2.post(f"{url}/live/topics/ann/said/events", json={"n": 1}, headers=ANN)
    assert published.status_code == 201
    assert httpx2.get(f"{url}/live/events/history?topics=ann/said", headers=ANN).json()["cursors"][-1:] == [
        published.json()["last"]
    ]
    assert httpx2.get(f"{url}/live/topics/ann/said", headers=ANN).json()["topic"] == "ann/said"
    assert httpx2.get(f"{url}/live/events/poll?topics=ann/**&from=earliest", headers=ANN).json()["events"] != []


@pytest.mark.parametrize("app", ["plain", "fast"])
def test_nothing_of_the_request_is_held_while_a_stream_is_open(app: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(app).url
    stream = Listening(url + STREAM, headers=ANN)
    stream.wait_for("tailrace.open")
    seen = httpx2.get(f"{url}/held").json()
    assert seen["held"] == 0
    assert ["ann", ["ann/*"]] in [one[:2] for one in seen["connections"]]


@pytest.mark.parametrize("app", ["plain", "fast"])
def test_a_stream_can_be_ended_for_good(app: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(app).url
    stream = Listening(f"{url}/live/events/stream?topics=ann/ended", headers=ANN)
    stream.wait_for("tailrace.open")
    [connection] = [one[2] for one in httpx2.get(f"{url}/held").json()["connections"] if one[1] == ["ann/ended"]]
    assert httpx2.post(f"{url}/close/{connection}").json() is True
    stream.wait_for("id: end")
    stream.wait_for('"reason":"closed_by_server","retry":null')
    stream.join()
    assert stream.error is None
    again = httpx2.get(f"{url}/live/events/stream?topics=ann/ended", headers={**ANN, "last-event-id": "end"})
    assert again.status_code == 204


def test_threads_publish_through_the_synchronous_face(plain: Served) -> None:
    stream = Listening(plain.url + STREAM, headers=ANN)
    stream.wait_for("tailrace.open")
    httpx2.post(f"{plain.url}/say-in-a-thread/ann", params={"text": "from a thread"})
    assert stream.wait_for("data: from a thread") == "data: from a thread"


def test_the_applications_own_document_describes_the_api(plain: Served) -> None:
    paths = httpx2.get(f"{plain.url}/openapi.json").json()["paths"]
    stream = paths["/live/events/stream"]["get"]
    assert "text/event-stream" in stream["responses"]["200"]["content"]
    assert {parameter["name"] for parameter in stream["parameters"]} >= {"topics", "from", "x-user"}
    assert "$ref" not in str(paths["/live/topics/{topic}/events"]["post"]["requestBody"])


@pytest.mark.parametrize("app", ["crowded", "crowded_fast"])
@pytest.mark.parametrize("server", ["uvicorn", "uvicorn-rooted"])
def test_streams_pass_the_usual_middleware_and_a_root_path(server: str, app: str, tmp_path: Path) -> None:
    with served(server, app, tmp_path) as running:
        headers = {**ANN, "origin": "https://app.example", "accept-encoding": "gzip"}
        streams = [Listening(running.url + STREAM, headers=headers) for _ in range(2)]
        streams.append(Listening(running.url + STREAM, headers={**headers, "accept-encoding": "identity"}))
        for stream in streams:
            stream.wait_for("tailrace.open")
        httpx2.post(f"{running.url}/say/ann", params={"text": "hello"})
        for stream in streams:
            stream.wait_for("data: hello")
            assert stream.headers is not None
            assert stream.headers["x-seen"] == "yes"
            assert stream.headers["access-control-allow-origin"] == "https://app.example"
        running.terminate()
        for stream in streams:
            stream.wait_for("tailrace.drain")
            stream.join()
            assert stream.error is None
        running.wait()
        assert "Traceback" not in running.output
        assert "ERROR" not in running.output


def test_a_middleware_that_spoils_streams_is_named_at_start_and_the_others_are_not(tmp_path: Path) -> None:
    with served("uvicorn", "gathering", tmp_path) as running:
        running.terminate()
        running.wait()
    assert "Gathering holds streams back" in running.output
    assert "Slow" not in running.output


def test_a_middleware_that_changes_streams_is_named_and_not_passed_by(tmp_path: Path) -> None:
    with served("uvicorn", "shouting", tmp_path) as running:
        stream = Listening(running.url + STREAM, headers={**ANN, "accept-encoding": "identity"})
        stream.wait_for("TAILRACE.OPEN")
        running.terminate()
        running.wait()
    assert "Shouting changes what streams send" in running.output


@pytest.mark.parametrize("app", ["starlette", "own_lifespan"])
def test_a_starlette_application_has_the_same(app: str, tmp_path: Path) -> None:
    with served("uvicorn", app, tmp_path) as running:
        stream = Listening(f"{running.url}/live/events/stream?topics=news")
        stream.wait_for("tailrace.open")
        httpx2.post(f"{running.url}/say", params={"text": "hello"})
        stream.wait_for("data: hello")
        refused = httpx2.post(f"{running.url}/live/topics/news/events", json=1)
        assert (refused.status_code, refused.json()["detail"]) == (403, "anyone may not publish 'news'.")
        running.terminate()
        stream.wait_for("tailrace.drain")
        running.wait()
        assert "Traceback" not in running.output
