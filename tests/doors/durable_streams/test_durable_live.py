"""Streams are followed by events: what comes, in which order, what each control says, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import httpx2
import pytest
from tests.doors.durable_streams.speaking import (
    JSON,
    PREFIX,
    TEXT,
    ZERO,
    Followed,
    Streams,
    deadline_of,
    settings_with,
    tasks_of,
    wait_until,
)
from tests.doors.portable import SITES, WAYS

from tailrace.core.event import Draft
from tailrace.doors.durable_streams.limits import DurableStreamsLimits
from tailrace.fanout.member import Member
from tailrace.log.store import Entry
from tailrace.testing.clock import Clock
from tailrace.testing.server import LiveServer, quick_settings, running_server

NEVER = DurableStreamsLimits(sse_seconds=0.0)


@pytest.fixture(scope="module", params=SITES, ids=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    """Each test runs with the connection taken over, and by plain ASGI. Pages are of three events."""
    settings = settings_with()
    settings = replace(settings, log=replace(settings.log, page_events=3))
    with running_server(settings, request.param, clock=Clock()) as running:
        yield running


def seen(stream: Followed, count: int) -> list[str]:
    """Data until so many letters have come, with what the controls say checked."""
    found: list[str] = []
    while len("".join(found)) < count:
        found.append(stream.data())
    return found


# ---- how it begins ------------------------------------------------------------------------------------------


def test_a_stream_begins_at_once_with_what_the_protocol_asks_for(streams: Streams, name: str) -> None:
    streams.create(name)
    with streams.follow(name) as stream:
        assert stream.control()["upToDate"] is True
        said = stream.response.headers
    assert said["content-type"] == "text/event-stream"
    assert "no-cache" in said["cache-control"]
    assert (said["x-content-type-options"], said["x-accel-buffering"]) == ("nosniff", "no")
    for header in ("content-length", "content-encoding", "stream-sse-data-encoding"):
        assert header not in said


@pytest.mark.parametrize("offset", ["-1", ZERO, "now"])
def test_an_empty_stream_is_level_at_the_offset_that_a_read_answers(streams: Streams, name: str, offset: str) -> None:
    streams.create(name)
    with streams.follow(name, offset) as stream:
        control = stream.control()
    assert control["streamNextOffset"] == streams.look(name).headers["stream-next-offset"] == ZERO
    assert set(control) == {"streamNextOffset", "streamCursor", "upToDate"}


def test_what_there_is_comes_first_and_then_what_is_appended(streams: Streams, name: str) -> None:
    end = streams.create(name, JSON, b"[1,2]")
    with streams.follow(name) as stream:
        assert json.loads(stream.next().data) == [1, 2]
        control = stream.control()
        assert (control["streamNextOffset"], control["upToDate"]) == (end, True)
        for body in (b"3", b'{"a":1.0}'):
            offset = streams.add(name, body, JSON)
            data, control = stream.next(), stream.control()
            assert data.data == f"[{body.decode()}]"
            assert data.id == control["streamNextOffset"] == offset
            assert control["upToDate"] is True


def test_now_shows_nothing_that_was_before(streams: Streams, name: str) -> None:
    end = streams.create(name, TEXT, b"old")
    with streams.follow(name, "now") as stream:
        assert stream.control()["streamNextOffset"] == end
        streams.add(name, b"new")
        assert stream.data() == "new"


def test_bytes_come_as_base64_and_are_said_to(streams: Streams, name: str) -> None:
    streams.create(name, "image/png", b"\x00\xff\r\n")
    with streams.follow(name) as stream:
        assert stream.response.headers["stream-sse-data-encoding"] == "base64"
        assert base64.b64decode(stream.data(), validate=True) == b"\x00\xff\r\n"
        streams.add(name, b"\n", "image/png")
        assert base64.b64decode(stream.data(), validate=True) == b"\n"


def test_text_comes_with_its_line_breaks_and_its_spaces(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b" a\r\n b\n\nevent: control\rdata:{}")
    with streams.follow(name) as stream:
        assert stream.data() == " a\n b\n\nevent: control\ndata:{}"


def test_state_messages_carry_their_offset_as_in_a_read(streams: Streams, name: str) -> None:
    end = streams.create(name, JSON, b'{"type":"t","key":"k","value":1,"headers":{"operation":"insert"}}')
    with streams.follow(name) as stream:
        [message] = json.loads(stream.data())
    assert message["headers"]["offset"] == end
    assert streams.look(name).json() == [message]


# ---- offsets, and who is level ------------------------------------------------------------------------------


def test_offsets_rise_and_only_the_last_of_several_pages_is_level(streams: Streams, name: str) -> None:
    """Six events are two full pages: the second ends exactly where the stream does."""
    streams.create(name, JSON, b"[1,2,3,4,5,6]")
    for number in range(5):
        streams.server.publish("busy/elsewhere", number)
    with streams.follow(name) as stream:
        controls, messages = [], []
        while not (controls and "upToDate" in controls[-1]):
            event = stream.next()
            if event.type == "data":
                messages += json.loads(event.data)
            else:
                controls.append(json.loads(event.data))
    assert messages == [1, 2, 3, 4, 5, 6]
    offsets = [control["streamNextOffset"] for control in controls]
    assert offsets == sorted(offsets)
    assert offsets[-1] == streams.look(name).headers["stream-next-offset"]
    for offset, control in zip(offsets, controls, strict=True):
        assert ("upToDate" in control) <= (offset == offsets[-1])


def test_who_came_level_by_an_event_of_another_topic_is_told_so(streams: Streams, name: str) -> None:
    """A full page, and behind it one event that is not for this reader, both before it was written anything."""
    log = streams.server.site.log

    async def publish_both() -> None:
        for topic, count in ((name, 3), ("busy/elsewhere", 1)):
            drafts = [Draft(topic=topic, data=b"1") for _ in range(count)]
            appended = await log.store.append([Entry(topic=topic, drafts=drafts)])
            log._show(appended)

    streams.create(name, JSON)
    with streams.follow(name) as stream:
        stream.control()
        streams.server.call(lambda: asyncio.ensure_future(publish_both()))
        assert json.loads(stream.next().data) == [1, 1, 1]
        first = stream.control()
        level = first if "upToDate" in first else stream.control()
    assert level["upToDate"] is True
    assert level["streamNextOffset"] == first["streamNextOffset"]


def test_readers_that_come_while_it_is_written_to_get_everything_once(streams: Streams, name: str) -> None:
    streams.create(name)
    expected = "".join([f"{number:04d}." for number in range(200)])

    def write() -> None:
        with Streams(streams.server) as writing:
            for number in range(200):
                writing.add(name, f"{number:04d}.".encode())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        offset, found, resumed = "-1", "", 0
        while len(found) < len(expected):
            with streams.follow(name, offset) as stream:
                for _ in range(3):  # and away, wherever that is
                    event = stream.next()
                    if event.type == "data":
                        found += event.data
                        offset = event.id
                    else:
                        assert json.loads(event.data)["streamNextOffset"] >= offset
                        offset = json.loads(event.data)["streamNextOffset"]
                    if len(found) == len(expected):
                        break
            resumed += 1
    finally:
        writer.join()
    assert found == expected
    assert resumed > 1


def test_a_browser_that_comes_back_says_where_it_was(streams: Streams, name: str) -> None:
    offsets = [streams.create(name, TEXT, b"0"), *[streams.add(name, b"%d" % number) for number in (1, 2, 3)]]
    with streams.follow(name, "-1", last=offsets[2]) as stream:
        assert stream.data() == "3"
    with streams.follow(name, None, last=offsets[0]) as stream:
        assert stream.data() == "123"
    with streams.follow(name, offsets[1], last="") as stream:
        assert stream.data() == "23"
    refused = streams.get(f"{PREFIX}/{name}", params={"offset": "-1", "live": "sse"}, headers={"last-event-id": "1-2"})
    assert refused.status_code == 400


def test_a_reader_that_comes_with_a_cursor_is_sent_on_from_it(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"x")
    with streams.follow(name) as stream:
        stream.next()
        usual = int(str(stream.control()["streamCursor"]))
    for asked in (usual, usual + 1000):
        with streams.follow(name, cursor=str(asked)) as stream:
            stream.next()
            assert int(str(stream.control()["streamCursor"])) > asked
    with streams.follow(name, cursor="nonsense") as stream:
        stream.next()
        assert int(str(stream.control()["streamCursor"])) in (usual, usual + 1)


# ---- how it ends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [None, b"last"])
def test_closing_ends_a_stream_after_its_last_content(streams: Streams, name: str, last: bytes | None) -> None:
    streams.create(name, TEXT, b"x")
    with streams.follow(name) as stream:
        assert stream.data() == "x"
        final = streams.close_stream(name, last)
        events = stream.rest()
    assert [event.data for event in events[:-1]] == ([] if last is None else ["last"])
    said = json.loads(events[-1].data)
    assert said == {"streamNextOffset": final, "upToDate": True, "streamClosed": True}


@pytest.mark.parametrize("offset", ["-1", "now", "final"])
def test_a_closed_stream_ends_at_once(streams: Streams, name: str, offset: str) -> None:
    final = streams.create(name, TEXT, b"all", stream_closed="true")
    with streams.follow(name, final if offset == "final" else offset) as stream:
        events = stream.rest()
    assert [event.data for event in events[:-1]] == (["all"] if offset == "-1" else [])
    assert json.loads(events[-1].data) == {"streamNextOffset": final, "upToDate": True, "streamClosed": True}


def test_however_closing_and_connecting_meet_the_last_content_is_seen(streams: Streams, name: str) -> None:
    for number in range(30):
        stream_name = f"{name}/{number}"
        streams.create(stream_name)
        closer = threading.Thread(target=close_one, args=(streams.server, stream_name))
        closer.start()
        with streams.follow(stream_name) as stream:
            events = stream.rest()
        closer.join()
        assert [event.data for event in events if event.type == "data"] == ["last"]
        assert json.loads(events[-1].data)["streamClosed"] is True
        assert [event.type for event in events[-2:]] == ["data", "control"]


def close_one(server: LiveServer, stream: str) -> None:
    with Streams(server) as streams:
        streams.close_stream(stream, b"last")


def test_a_stream_that_is_deleted_ends_and_is_not_there_any_more(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"x")
    with streams.follow(name) as stream, streams.follow(name, "now") as other:
        assert stream.data() == "x"
        end = str(other.control()["streamNextOffset"])
        streams.ask("DELETE", name)
        assert stream.rest() == other.rest() == []
    assert streams.look(name, offset=end, live="sse").status_code == 404
    streams.create(name, TEXT, b"new")
    assert streams.look(name, offset=end, live="sse").status_code == 410


def test_an_empty_stream_that_is_deleted_ends_too(streams: Streams, name: str) -> None:
    streams.create(name)
    with streams.follow(name) as stream:
        stream.control()
        streams.ask("DELETE", name)
        assert stream.rest() == []


def test_a_reader_that_misses_what_retention_removed_is_ended_and_told_when_it_comes_again(
    streams: Streams, name: str
) -> None:
    streams.create(name)
    with streams.follow(name) as stream:
        stream.control()
        offset = ""
        for _ in range(60):  # more than sockets hold, and the tail
            streams.add(name, b"x" * 500_000)
        assert streams.patch(f"/api/v1/topics/{name}", json={"retention": {"max_events": 1}}).status_code == 200
        streams.server.sweep()
        events = stream.rest()
    found = [event for event in events if event.type == "data"]
    assert sum([len(event.data) for event in found]) < 60 * 500_000
    offset = json.loads([event for event in events if event.type == "control"][-1].data)["streamNextOffset"]
    assert streams.look(name, offset=offset, live="sse").status_code == 410


def test_a_stream_lasts_for_so_long_and_its_reader_goes_on_where_it_was(name: str) -> None:
    with running_server(settings_with(DurableStreamsLimits(sse_seconds=0.1))) as server, Streams(server) as streams:
        offset, found, ends = streams.create(name), "", 0
        for number in range(5):
            streams.add(name, b"%d" % number)
            with streams.stream("GET", f"{PREFIX}/{name}", params={"offset": offset, "live": "sse"}) as response:
                body = b"".join(response.iter_bytes())
            stream = Followed(httpx2.Response(200, content=body))
            found += stream.data()
            offset = str(json.loads(body.rpartition(b"data:")[2].partition(b"\n")[0])["streamNextOffset"])
            ends += body.endswith(b"retry: 100\n\n")
        server.wait_streams(0)
    assert (found, ends) == ("01234", 5)


def test_a_stream_that_may_last_for_ever_is_not_ended(name: str) -> None:
    with running_server(settings_with(NEVER)) as server, Streams(server) as streams:
        streams.create(name)
        with streams.follow(name) as stream:
            stream.control()
            streams.add(name, b"x")
            assert stream.data() == "x"


def test_a_server_that_goes_away_ends_its_streams_and_takes_no_more(name: str) -> None:
    with running_server(settings_with()) as server, Streams(server) as streams:
        streams.create(name)
        with streams.follow(name) as stream:
            stream.control()
            server.drain()
            assert stream.rest() == []
        assert streams.look(name, offset="-1", live="sse").status_code == 503


# ---- a stream's time ----------------------------------------------------------------------------------------


def test_a_stream_that_is_followed_does_not_end_and_one_that_was_does(name: str) -> None:
    clock = Clock(frozen=True)
    with running_server(quick_settings(), clock=clock) as server, Streams(server) as streams:
        for one in ("kept", "left"):
            streams.create(f"{name}/{one}", stream_ttl="1")
        with streams.follow(f"{name}/kept") as kept:
            kept.control()
            with streams.follow(f"{name}/left") as left:
                left.control()
                for _ in range(4):
                    clock.advance(0.4)
                    for one in ("kept", "left"):
                        wait_until(lambda one=one: deadline_of(server, f"{name}/{one}") == clock() + 1000)
            server.wait_streams(1)
            until = deadline_of(server, f"{name}/left")
            for _ in range(4):
                clock.advance(0.4)
                wait_until(lambda: deadline_of(server, f"{name}/kept") == clock() + 1000)
            assert until < clock()
            assert streams.ask("HEAD", f"{name}/left").status_code == 404
            streams.add(f"{name}/kept", b"x")
            assert kept.data() == "x"


def test_readers_that_come_all_the_time_keep_no_other_stream_from_being_renewed(name: str) -> None:
    clock = Clock(frozen=True)
    with running_server(quick_settings(), clock=clock) as server, Streams(server) as streams:
        for one in ("quiet", "busy"):
            streams.create(f"{name}/{one}", stream_ttl="1")
        with streams.follow(f"{name}/quiet") as quiet:
            quiet.control()
            clock.advance(0.5)

            def come_and_look() -> bool:
                with streams.follow(f"{name}/busy") as busy:
                    busy.control()
                return deadline_of(server, f"{name}/quiet") == clock() + 1000

            wait_until(come_and_look)
            assert streams.ask("HEAD", f"{name}/quiet").status_code == 200


# ---- what it costs ------------------------------------------------------------------------------------------


def test_a_thousand_readers_of_a_stream_are_one_cohort_without_tasks_or_timers(name: str) -> None:
    readers = 1000
    with running_server(settings_with(NEVER)) as server, Streams(server) as streams, ExitStack() as open_sockets:
        streams.create(name, TEXT, stream_ttl="3600")
        with streams.follow(name) as first:
            first.control()
        server.wait_streams(0)
        before = tasks_of(server)
        request = f"GET {PREFIX}/{name}?offset=-1&live=sse HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        address = httpx2.URL(server.url)
        sockets = []
        for _ in range(readers):
            opened = socket.create_connection((address.host, address.port or 80), timeout=20)
            sockets.append(open_sockets.enter_context(closing(opened)))
            opened.sendall(request)
        server.wait_streams(readers)
        fanout = server.site.streams.fanout
        wait_until(lambda: tasks_of(server) <= before + 1)  # the connection of `streams` may be one
        assert fanout.cohorts == 1
        assert len(fanout.dialects()) == 1
        streams.add(name, b"for everybody")
        for one in sockets:
            received = b""
            while b"for everybody\n\nevent: control" not in received:
                received += one.recv(65536)
        assert all(isinstance(member, Member) for member in fanout.members())
