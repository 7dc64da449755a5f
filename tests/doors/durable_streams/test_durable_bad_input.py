"""Bad input: each with the status that the protocol names, and nothing stored."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from tests.doors.durable_streams.speaking import BEYOND, JSON, PREFIX, TEXT, ZERO, Streams

from tailrace.testing.server import LiveServer


class Bad(NamedTuple):
    """A request and its refusal. `to`: which stream, `{}` being the test's own."""

    status: int
    method: str
    to: str
    headers: dict[str, str]
    body: bytes | None = None
    answered: dict[str, str] | None = None

    def __str__(self) -> str:
        headers = " ".join([f"{name}={value[:24]}" for name, value in self.headers.items()])
        return f"{self.method} {self.to} {headers} {(self.body or b'')[:24]!r} {self.status}"


NEW = "{}/new"
TEXTS = {"content_type": TEXT}
JSONS = {"content_type": JSON}
FROM = {"stream_forked_from": PREFIX + "/{}/texts"}
PRODUCER = {**TEXTS, "producer_id": "p"}

BAD_JSON = [
    b"{",
    b"[1,]",
    b"{'a':1}",
    b"NaN",
    b"[NaN]",
    b"[-Infinity]",
    b"01",
    b'"\\ud800"',
    b'["a\\udc00b"]',
    b'"\xff"',
]
BAD_JSON += [b"1 2", b"[1][2]", b" ", b"\xef\xbb\xbf1", b'"a\nb"', b"[" * 100_000]
BAD_COUNTS = ["+60", "00060", "60.5", "1e3", "-1", "abc", "", "6 0", "٦٠"]
BAD_TIMES = ["tomorrow", "2030-01-01", "2030-01-01T00:00:00", "2030-13-01T00:00:00Z", "", "1767225600"]
BAD_OFFSETS = ["", "abc", "1_1", ZERO + "x", ZERO[:-1], ZERO.replace("_", "-"), "0,0", "../etc", "Now"]

CREATING = [
    *[Bad(400, "PUT", NEW, {**TEXTS, "stream_ttl": ttl}) for ttl in BAD_COUNTS],
    *[Bad(400, "PUT", NEW, {**TEXTS, "stream_expires_at": time}) for time in BAD_TIMES],
    Bad(400, "PUT", NEW, {**TEXTS, "stream_ttl": "60", "stream_expires_at": "2030-01-01T00:00:00Z"}),
    Bad(400, "PUT", NEW, {**TEXTS, "stream_ttl": "9" * 30}),
    *[Bad(400, "PUT", NEW, JSONS, body) for body in BAD_JSON],
    Bad(400, "PUT", NEW, {"content_type": "text/" + "x" * 300}),
    Bad(400, "PUT", "{}//new", TEXTS),
    Bad(400, "PUT", "{}/new/", TEXTS),
    Bad(400, "PUT", "{}/%2E%2E/new", TEXTS),
    Bad(400, "PUT", "{}/a*", TEXTS),
    Bad(400, "PUT", "$own", TEXTS),
    Bad(400, "PUT", "x" * 600, TEXTS),
    Bad(409, "PUT", "{}/texts", JSONS),
    Bad(409, "PUT", "{}/texts", {**TEXTS, "stream_ttl": "60"}),
    Bad(409, "PUT", "{}/texts", {**TEXTS, "stream_expires_at": "2030-01-01T00:00:00Z"}),
    Bad(409, "PUT", "{}/texts", {**TEXTS, "stream_closed": "true"}),
    Bad(409, "PUT", "{}/texts", {**TEXTS, **FROM}),
    Bad(409, "PUT", "{}/closed", TEXTS),
    Bad(409, "PUT", "{}/gone", TEXTS),
    Bad(409, "PUT", "{}/fork", TEXTS),
]

FORKING = [
    Bad(400, "PUT", NEW, {**TEXTS, "stream_fork_offset": ZERO}),
    Bad(400, "PUT", NEW, {**TEXTS, "stream_fork_sub_offset": "0"}),
    *[Bad(400, "PUT", NEW, {**FROM, "stream_fork_sub_offset": count}) for count in BAD_COUNTS],
    *[Bad(400, "PUT", NEW, {**FROM, "stream_fork_offset": offset}) for offset in [*BAD_OFFSETS, "-1", "now", BEYOND]],
    Bad(400, "PUT", NEW, {**FROM, "stream_fork_offset": ZERO, "stream_fork_sub_offset": "6"}),
    Bad(400, "PUT", NEW, {**FROM, "stream_fork_sub_offset": "1"}),
    Bad(400, "PUT", NEW, {**FROM, "stream_ttl": "x"}),
    Bad(400, "PUT", NEW, {"stream_forked_from": PREFIX + "/{}/jsons"}, b"{"),
    Bad(409, "PUT", NEW, {**FROM, **JSONS}),
    Bad(409, "PUT", NEW, {"stream_forked_from": PREFIX + "/{}/gone"}),
    Bad(404, "PUT", NEW, {"stream_forked_from": PREFIX + "/{}/nowhere"}),
    Bad(404, "PUT", NEW, {"stream_forked_from": "http://localhost" + PREFIX + "/{}/texts"}),
    Bad(404, "PUT", NEW, {"stream_forked_from": "{}/texts"}),
    Bad(404, "PUT", NEW, {"stream_forked_from": ""}),
    Bad(400, "PUT", NEW, {"stream_forked_from": PREFIX + "/"}),
    Bad(400, "PUT", NEW, {"stream_forked_from": PREFIX + "/a//b"}),
    Bad(409, "PUT", "{}/jsons", {**FROM, **JSONS}),
    Bad(409, "PUT", "{}/fork", {**FROM, "stream_fork_sub_offset": "1"}),
]

APPENDING = [
    Bad(400, "POST", "{}/texts", TEXTS),
    Bad(400, "POST", "{}/texts", TEXTS, b""),
    Bad(400, "POST", "{}/texts", {**TEXTS, "stream_closed": "yes"}),
    Bad(400, "POST", "{}/texts", {}, b"x"),
    Bad(400, "POST", "{}/texts", {"content_type": ""}, b"x"),
    Bad(404, "POST", NEW, TEXTS, b"x"),
    Bad(404, "POST", NEW, {"stream_closed": "true"}),
    Bad(410, "POST", "{}/gone", TEXTS, b"x"),
    Bad(409, "POST", "{}/texts", JSONS, b"1"),
    Bad(409, "POST", "{}/jsons", TEXTS, b"1"),
    Bad(400, "POST", "{}/jsons", JSONS, b"[]"),
    Bad(400, "POST", "{}/jsons", JSONS, b" [ ] "),
    *[Bad(400, "POST", "{}/jsons", JSONS, body) for body in BAD_JSON],
    Bad(409, "POST", "{}/closed", TEXTS, b"x", {"stream-closed": "true"}),
    Bad(409, "POST", "{}/closed", {**TEXTS, "stream_closed": "true"}, b"x", {"stream-closed": "true"}),
    Bad(409, "POST", "{}/texts", {**TEXTS, "stream_seq": "b"}, b"x"),
    Bad(409, "POST", "{}/texts", {**TEXTS, "stream_seq": "B"}, b"x"),
    Bad(409, "POST", "{}/texts", {**TEXTS, "stream_seq": "a9"}, b"x"),
    Bad(404, "POST", "__ds/x", TEXTS, b"x"),
    Bad(400, "POST", "$own", TEXTS, b"x"),
]

PRODUCING = [
    Bad(400, "POST", "{}/texts", {**TEXTS, "producer_id": "p"}, b"x"),
    Bad(400, "POST", "{}/texts", {**TEXTS, "producer_epoch": "0", "producer_seq": "0"}, b"x"),
    Bad(400, "POST", "{}/texts", {**PRODUCER, "producer_epoch": "0"}, b"x"),
    Bad(400, "POST", "{}/texts", {**TEXTS, "producer_id": "", "producer_epoch": "0", "producer_seq": "0"}, b"x"),
    Bad(
        400,
        "POST",
        "{}/texts",
        {**PRODUCER, "producer_id": "p" * 300, "producer_epoch": "0", "producer_seq": "0"},
        b"x",
    ),
    *[
        Bad(400, "POST", "{}/texts", {**PRODUCER, "producer_epoch": "0", "producer_seq": text, **other}, b"x")
        for text in ["1abc", "0x1", "1e3", "-1", "", "1.0", str(2**53), "9" * 17]
        for other in ({}, {"producer_epoch": text, "producer_seq": "0"})
    ],
    Bad(
        403, "POST", "{}/texts", {**PRODUCER, "producer_epoch": "4", "producer_seq": "9"}, b"x", {"producer-epoch": "5"}
    ),
    Bad(400, "POST", "{}/texts", {**PRODUCER, "producer_epoch": "6", "producer_seq": "1"}, b"x"),
    Bad(
        *(409, "POST", "{}/texts", {**PRODUCER, "producer_epoch": "5", "producer_seq": "3"}, b"x"),
        answered={"producer-expected-seq": "1", "producer-received-seq": "3"},
    ),
    Bad(
        *(409, "POST", "{}/texts", {**PRODUCER, "producer_id": "q", "producer_epoch": "0", "producer_seq": "2"}, b"x"),
        answered={"producer-expected-seq": "0", "producer-received-seq": "2"},
    ),
    Bad(
        *(409, "POST", "{}/closed", {**PRODUCER, "producer_epoch": "0", "producer_seq": "1"}, b"x"),
        answered={"stream-closed": "true"},
    ),
]

OTHER = [
    Bad(404, "HEAD", NEW, {}),
    Bad(410, "HEAD", "{}/gone", {}),
    Bad(404, "DELETE", NEW, {}),
    Bad(410, "DELETE", "{}/gone", {}),
    Bad(410, "GET", "{}/gone", {}),
    Bad(404, "GET", NEW, {}),
    Bad(405, "PATCH", "{}/texts", {}, b"x", {"allow": "DELETE, GET, HEAD, POST, PUT"}),
    Bad(400, "GET", "{}//texts", {}),
]


@pytest.fixture
def own(streams: Streams, name: str) -> str:
    """Streams in every state, below one name of their own."""
    streams.create(f"{name}/texts")
    producer = {"producer_id": "p", "producer_epoch": "5", "producer_seq": "0"}
    streams.add(f"{name}/texts", b"hello", stream_seq="b", **producer)
    streams.create(f"{name}/jsons", JSON, b"[1]")
    streams.create(f"{name}/closed", TEXT, b"bye", stream_closed="true")
    streams.create(f"{name}/gone")
    streams.create(f"{name}/fork", TEXT, stream_forked_from=f"{PREFIX}/{name}/gone")
    assert streams.ask("DELETE", f"{name}/gone").status_code == 204
    return name


@pytest.mark.parametrize("bad", [*CREATING, *FORKING, *APPENDING, *PRODUCING, *OTHER], ids=str)
def test_bad_input_is_refused_and_nothing_is_stored(streams: Streams, own: str, bad: Bad) -> None:
    before = streams.tip()
    headers = {name: value.format(own).encode() for name, value in bad.headers.items()}
    response = streams.ask(bad.method, bad.to.format(own), bad.body, **headers)
    assert response.status_code == bad.status, response.text
    for header, value in (bad.answered or {}).items():
        assert response.headers[header] == value
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cross-origin-resource-policy"] == "cross-origin"
    if bad.method != "HEAD":
        problem = response.json()
        assert len(problem["error"]["message"] if "error" in problem else problem["detail"]) > 20
    assert streams.tip() == before
    assert streams.ask("HEAD", NEW.format(own)).status_code == 404


@pytest.mark.parametrize("bad", FORKING, ids=str)
def test_a_refused_fork_leaves_no_reference_on_its_source(streams: Streams, own: str, bad: Bad) -> None:
    headers = {name: value.format(own).encode() for name, value in bad.headers.items()}
    streams.ask(bad.method, bad.to.format(own), bad.body, **headers)
    for source in ("texts", "jsons"):
        assert streams.ask("DELETE", f"{own}/{source}").status_code == 204
        assert streams.ask("HEAD", f"{own}/{source}").status_code == 404, "the source is gone, and not kept for a fork"
        streams.create(f"{own}/{source}", "image/png")


@pytest.mark.parametrize(
    "offset", [*BAD_OFFSETS[1:], ZERO + "%0A", "%00", "a%20b", ZERO + "%0D%0A", "\u0660" * 16 + "_" + "0" * 16]
)
@pytest.mark.parametrize("live", ["", "&live=long-poll", "&live=sse"])
def test_a_malformed_offset_is_refused_in_every_mode(streams: Streams, own: str, offset: str, live: str) -> None:
    for stream, status in ((f"{own}/texts", 400), (NEW.format(own), 404)):
        response = streams.get(f"{PREFIX}/{stream}?offset={offset.replace(' ', '+')}{live}")
        assert response.status_code == status, response.text


@pytest.mark.parametrize(
    "query", ["offset=", "offset=-1&offset=-1", "live=sse", "live=long-poll", "live=sse&offset=", "offset=%ff"]
)
def test_an_offset_that_is_missing_empty_or_repeated_is_refused(streams: Streams, own: str, query: str) -> None:
    assert streams.get(f"{PREFIX}/{own}/texts?{query}").status_code == 400


@pytest.mark.parametrize("live", ["long-poll", "sse"])
def test_now_on_a_stream_that_is_not_there_is_refused_at_once(streams: Streams, own: str, live: str) -> None:
    assert streams.look(NEW.format(own), offset="now", live=live).status_code == 404
    assert streams.look(f"{own}/gone", offset="now", live=live).status_code == 410


def test_a_body_beyond_the_bound_is_too_large(server: LiveServer, streams: Streams, own: str) -> None:
    before = streams.tip()
    too_much = server.settings.http.body_bytes + 1
    for method in ("PUT", "POST"):
        response = streams.ask(method, f"{own}/texts", b"x" * too_much, content_type=TEXT)
        assert response.status_code == 413
    assert streams.tip() == before


def test_more_messages_than_the_bound_are_too_many(server: LiveServer, streams: Streams, own: str) -> None:
    body = b"[" + b",".join([b"1"] * (server.settings.http.body_events + 1)) + b"]"
    assert streams.ask("POST", f"{own}/jsons", body, content_type=JSON).status_code == 413


def test_a_parameter_or_a_mode_that_is_not_known_is_passed_over(streams: Streams, own: str) -> None:
    response = streams.look(f"{own}/texts", live="tomorrow", offset=ZERO, what="ever")
    assert (response.status_code, response.content) == (200, b"hello")


def test_a_content_type_that_is_none_counts_as_bytes(streams: Streams, own: str) -> None:
    response = streams.ask("PUT", NEW.format(own), content_type="no type")
    assert response.headers["content-type"] == "application/octet-stream"
