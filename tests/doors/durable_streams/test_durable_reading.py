"""Streams are read: all there is, page by page, what comes, and what a cache may keep of it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import httpx2
import pytest
from tests.doors.durable_streams.speaking import (
    BEYOND,
    JSON,
    PREFIX,
    TEXT,
    ZERO,
    Streams,
    deadline_of,
    settings_with,
    tasks_of,
    wait_until,
)

from tailrace.doors.durable_streams.limits import DurableStreamsLimits
from tailrace.server.config import AccessSettings, ApiKey
from tailrace.testing.clock import Clock
from tailrace.testing.server import LiveServer, quick_settings, running_server

# ---- catching up --------------------------------------------------------------------------------------------


def test_an_empty_stream_is_level_at_the_start(streams: Streams, name: str) -> None:
    streams.create(name)
    for query in ({}, {"offset": "-1"}, {"offset": ZERO}, {"offset": "now"}):
        response = streams.look(name, **query)
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["stream-next-offset"] == ZERO
        assert response.headers["stream-up-to-date"] == "true"
        assert "stream-closed" not in response.headers


def test_a_reader_beyond_the_end_is_told_where_the_end_is(streams: Streams, name: str) -> None:
    end = streams.create(name, TEXT, b"x")
    response = streams.look(name, offset=f"{end.partition('_')[0]}_{'9' * 16}")
    assert (response.status_code, response.content) == (200, b"")
    assert (response.headers["stream-next-offset"], response.headers["stream-up-to-date"]) == (end, "true")


def test_an_offset_of_another_log_is_gone(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"x")
    for live in ({}, {"live": "long-poll"}, {"live": "sse"}):
        response = streams.look(name, offset=BEYOND, **live)
        assert (response.status_code, response.json()["code"]) == (410, "offset_gone")


@pytest.mark.parametrize(("kind", "nothing"), [(TEXT, b""), (JSON, b"[]")])
def test_now_is_the_end_and_is_kept_by_nobody(streams: Streams, name: str, kind: str, nothing: bytes) -> None:
    end = streams.create(name, kind, b"1")
    response = streams.look(name, offset="now")
    assert (response.content, response.headers["stream-next-offset"]) == (nothing, end)
    assert response.headers["cache-control"] == "no-store"
    assert "etag" not in response.headers
    streams.close_stream(name, kind=kind)
    closed = streams.look(name, offset="now")
    assert (closed.content, closed.headers["stream-closed"]) == (nothing, "true")


def test_head_tells_of_the_stream_and_has_no_body(streams: Streams, name: str) -> None:
    end = streams.create(name, "text/csv; header=present", b"x", stream_ttl="3600")
    response = streams.ask("HEAD", name)
    assert (response.status_code, response.content) == (200, b"")
    said = response.headers
    assert (said["content-type"], said["stream-next-offset"]) == ("text/csv; header=present", end)
    assert (said["stream-ttl"], said["cache-control"]) == ("3600", "no-store")
    assert "stream-closed" not in said
    streams.close_stream(name, kind="text/csv")
    assert streams.ask("HEAD", name).headers["stream-closed"] == "true"


# ---- pages and caches ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> Iterator[LiveServer]:
    """A server whose answers are short, and whose pages are shorter still."""
    settings = settings_with(DurableStreamsLimits(page_bytes=50))
    settings = replace(settings, log=replace(settings.log, page_events=3))
    with running_server(settings) as running:
        yield running


def test_a_reader_that_asks_on_gets_everything_once(small: LiveServer, name: str) -> None:
    with Streams(small) as streams:
        streams.create(name)
        expected = b""
        for number in range(60):
            streams.add(name, b"%04d." % number)
            streams.server.publish("busy/elsewhere", number)
            expected += b"%04d." % number
        found, pages = streams.whole(name)
    assert found == expected
    assert len(pages) > 3
    offsets = [page.headers["stream-next-offset"] for page in pages]
    assert offsets == sorted(set(offsets))
    assert [page.headers.get("stream-up-to-date") for page in pages] == [None] * (len(pages) - 1) + ["true"]


def test_pages_of_messages_are_arrays_each_for_itself(small: LiveServer, name: str) -> None:
    with Streams(small) as streams:
        streams.create(name, JSON, b"[" + b",".join([b'"%020d"' % number for number in range(20)]) + b"]")
        _, pages = streams.whole(name)
    assert len(pages) > 3
    numbers = [int(message) for page in pages for message in page.json()]
    assert numbers == list(range(20))


def test_only_the_page_that_ends_a_closed_stream_says_that_it_is_closed(small: LiveServer, name: str) -> None:
    with Streams(small) as streams:
        streams.create(name, JSON, b"[" + b",".join([b'"%030d"' % number for number in range(5)]) + b"]")
        streams.close_stream(name, kind=JSON)
        _, pages = streams.whole(name)
    assert [page.headers.get("stream-closed") for page in pages] == [None] * (len(pages) - 1) + ["true"]


def test_a_full_page_may_be_kept_and_the_last_must_be_asked_for_again(small: LiveServer, name: str) -> None:
    with Streams(small) as streams:
        streams.create(name, JSON, b"[" + b",".join([b'"%030d"' % number for number in range(5)]) + b"]")
        _, pages = streams.whole(name)
    assert {page.headers["cache-control"] for page in pages[:-1]} == {"public, max-age=60, stale-while-revalidate=300"}
    assert pages[-1].headers["cache-control"] == "no-cache"


def test_where_callers_are_told_apart_no_shared_cache_keeps_an_answer(name: str) -> None:
    key = ApiKey("k", "k" * 16, publish=("**",), read=("**",), manage=("**",))
    settings = settings_with(DurableStreamsLimits(page_bytes=10))
    with (
        running_server(replace(settings, access=AccessSettings(keys=(key,)))) as server,
        Streams(server, key=key.key) as streams,
    ):
        streams.create(name, JSON, b"[" + b",".join([b'"%030d"' % number for number in range(30_000)]) + b"]")
        first = streams.look(name)
    assert first.headers["cache-control"] == "private, max-age=60, stale-while-revalidate=300"


def test_a_reader_that_has_it_is_told_so(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"x")
    first = streams.look(name)
    tag = first.headers["etag"]
    for asked in (tag, f"W/{tag}", f'"other", {tag}', f'W/"other",W/{tag}', "*"):
        response = streams.ask("GET", name, if_none_match=asked)
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == tag
        assert response.headers["stream-next-offset"] == first.headers["stream-next-offset"]
        assert response.headers["stream-up-to-date"] == "true"
        assert response.headers["vary"] == "accept-encoding"
    for asked in ('"other"', tag.strip('"'), "", "W/*"):
        assert streams.ask("GET", name, if_none_match=asked).status_code == 200


def test_the_tag_changes_with_what_is_answered(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"x")
    tags = [streams.look(name).headers["etag"]]
    middle = streams.add(name, b"y")
    tags.append(streams.look(name).headers["etag"])
    tags.append(streams.look(name, offset=middle).headers["etag"])
    streams.close_stream(name)
    tags.append(streams.look(name).headers["etag"])
    tags.append(streams.look(name, offset=middle).headers["etag"])
    assert len(set(tags)) == 5
    assert streams.ask("GET", name, if_none_match=tags[0]).status_code == 200


def test_the_tag_of_a_log_in_memory_is_not_that_of_its_successor(name: str) -> None:
    with running_server(settings_with()) as server:
        tags = []
        for _ in range(2):
            with Streams(server) as streams:
                streams.create(name, TEXT, b"x")
                tags.append(streams.look(name).headers["etag"])
            server.restart()
    assert tags[0] != tags[1]


def test_a_compressed_answer_has_a_weak_tag_and_the_same_content(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"x" * 2000)
    plain = streams.ask("GET", name, accept_encoding="identity")
    assert "content-encoding" not in plain.headers
    with streams.stream("GET", f"{PREFIX}/{name}", headers={"accept-encoding": "gzip"}) as packed:
        assert gzip.decompress(b"".join(packed.iter_raw())) == plain.content
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert packed.headers["etag"] == f"W/{plain.headers['etag']}"
    again = streams.ask("GET", name, accept_encoding="gzip", if_none_match=packed.headers["etag"])
    assert again.status_code == 304


def test_a_stream_that_retention_has_shortened_is_gone_before_it_and_there_from_the_start(
    streams: Streams, name: str
) -> None:
    streams.create(name, TEXT)
    offsets = [streams.add(name, b"%d" % number) for number in range(5)]
    changed = streams.patch(f"/api/v1/topics/{name}", json={"retention": {"max_events": 2}})
    assert changed.status_code == 200, changed.text
    assert streams.server.sweep() == 3
    for live in ({}, {"live": "long-poll"}, {"live": "sse"}):
        response = streams.look(name, offset=offsets[0], **live)
        assert (response.status_code, response.json()["code"]) == (410, "offset_gone")
    assert streams.look(name, offset=offsets[2]).content == b"34"
    for query in ({}, {"offset": "-1"}, {"offset": ZERO}):
        assert streams.look(name, **query).content == b"34"


# ---- long-poll ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick() -> Iterator[LiveServer]:
    """A server whose polls soon end by themselves."""
    with running_server(settings_with(DurableStreamsLimits(long_poll_seconds=0.05))) as running:
        yield running


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(50) as pool:
        yield pool


def poll(
    pool: ThreadPoolExecutor, streams: Streams, stream: str, offset: str, **params: str
) -> Future[httpx2.Response]:
    return pool.submit(lambda: streams.look(stream, offset=offset, live="long-poll", **params))


def wait_polls(streams: Streams, count: int) -> None:
    """Wait until so many polls wait for something."""
    wait_until(lambda: waiting_in(streams) == count)


def waiting_in(streams: Streams) -> int:
    """How many wait for something in a log, but for the door itself: it follows what becomes of subscriptions."""
    return streams.server.statistics().log.readers - 1


def test_a_poll_is_answered_at_once_with_what_there_is(streams: Streams, name: str) -> None:
    end = streams.create(name, TEXT, b"x")
    response = streams.look(name, offset=ZERO, live="long-poll")
    assert (response.status_code, response.content) == (200, b"x")
    assert (response.headers["stream-next-offset"], response.headers["stream-up-to-date"]) == (end, "true")
    assert response.headers["stream-cursor"].isdigit()


def test_a_poll_that_nothing_came_to_says_where_it_stands(quick: LiveServer, name: str) -> None:
    with Streams(quick) as streams:
        end = streams.create(name, TEXT, b"x")
        response = streams.look(name, offset=end, live="long-poll")
        assert (response.status_code, response.content) == (204, b"")
        said = response.headers
        assert (said["stream-next-offset"], said["stream-up-to-date"]) == (end, "true")
        later = str(int(said["stream-cursor"]) + 5)
        again = streams.look(name, offset="now", live="long-poll", cursor=later)
        assert (again.status_code, int(again.headers["stream-cursor"]) > int(later)) == (204, True)


def test_one_append_answers_everybody_who_waits(streams: Streams, pool: ThreadPoolExecutor, name: str) -> None:
    end = streams.create(name, TEXT, b"old")
    polls = [poll(pool, streams, name, offset) for offset in [end, "now"] * 20]
    wait_polls(streams, 40)
    streams.server.publish("somewhere/else", 1)
    assert waiting_in(streams) == 40
    new = streams.add(name, b"new")
    for answered in polls:
        response = answered.result(20)
        assert (response.status_code, response.content) == (200, b"new")
        assert (response.headers["stream-next-offset"], response.headers["stream-up-to-date"]) == (new, "true")
    wait_polls(streams, 0)


def test_closing_answers_who_waits_at_once(streams: Streams, pool: ThreadPoolExecutor, name: str) -> None:
    end = streams.create(name, TEXT, b"x")
    waiting = poll(pool, streams, name, end)
    wait_polls(streams, 1)
    streams.close_stream(name)
    for response in (waiting.result(20), streams.look(name, offset=end, live="long-poll")):
        assert (response.status_code, response.headers["stream-closed"]) == (204, "true")
        assert (response.headers["stream-next-offset"], response.headers["stream-up-to-date"]) == (end, "true")
    now = streams.look(name, offset="now", live="long-poll")
    assert (now.status_code, now.headers["stream-closed"]) == (204, "true")


def test_the_last_content_comes_with_the_closing(streams: Streams, pool: ThreadPoolExecutor, name: str) -> None:
    end = streams.create(name)
    waiting = poll(pool, streams, name, end)
    wait_polls(streams, 1)
    streams.close_stream(name, b"last")
    response = waiting.result(20)
    assert (response.status_code, response.content) == (200, b"last")
    assert response.headers["stream-closed"] == "true"


def test_deleting_a_stream_answers_who_waits_that_it_is_not_there(
    streams: Streams, pool: ThreadPoolExecutor, name: str
) -> None:
    polls = []
    for stream, body in ((f"{name}/empty", None), (f"{name}/full", b"x")):
        end = streams.create(stream, TEXT, body)
        polls.append(poll(pool, streams, stream, end))
    wait_polls(streams, 2)
    for stream in ("empty", "full"):
        streams.ask("DELETE", f"{name}/{stream}")
    assert [waiting.result(20).status_code for waiting in polls] == [404, 404]


def test_a_fork_waits_for_its_own_and_not_for_its_source(streams: Streams, pool: ThreadPoolExecutor, name: str) -> None:
    streams.create(name, TEXT, b"x")
    end = streams.create(f"{name}/f", stream_forked_from=f"{PREFIX}/{name}")
    assert streams.look(f"{name}/f", offset=ZERO, live="long-poll").content == b"x"
    waiting = poll(pool, streams, f"{name}/f", end)
    wait_polls(streams, 1)
    streams.add(name, b"y")
    streams.add(f"{name}/f", b"z")
    assert waiting.result(20).content == b"z"


def test_a_server_that_goes_away_answers_who_waits_at_once(pool: ThreadPoolExecutor, name: str) -> None:
    with running_server(settings_with()) as server, Streams(server) as streams:
        end = streams.create(name, TEXT, b"x")
        waiting = poll(pool, streams, name, end)
        wait_polls(streams, 1)
        server.drain()
        response = waiting.result(20)
        assert (response.status_code, response.headers["stream-next-offset"]) == (204, end)


def test_a_reader_that_hangs_up_is_waited_for_no_longer(streams: Streams, name: str) -> None:
    end = streams.create(name, TEXT, b"x")
    before = tasks_of(streams.server)
    with pytest.raises(httpx2.ReadTimeout):
        streams.get(f"{PREFIX}/{name}", params={"offset": end, "live": "long-poll"}, timeout=0.2)
    wait_polls(streams, 0)
    wait_until(lambda: tasks_of(streams.server) <= before)


def test_a_stream_that_somebody_waits_for_is_in_use(pool: ThreadPoolExecutor, name: str) -> None:
    clock = Clock(frozen=True)
    with running_server(quick_settings(), clock=clock) as server, Streams(server) as streams:
        end = streams.create(name, TEXT, b"x", stream_ttl="1")
        waiting = poll(pool, streams, name, end)
        wait_polls(streams, 1)
        for _ in range(10):
            clock.advance(0.4)
            touched = clock()
            wait_until(lambda at=touched: deadline_of(server, name) > at + 999)
        streams.add(name, b"y")
        assert waiting.result(20).content == b"y"
