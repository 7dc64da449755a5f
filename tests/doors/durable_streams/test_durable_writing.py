"""Streams are created, appended to, closed, deleted and forked."""

from __future__ import annotations

import pytest
from tests.doors.durable_streams.speaking import JSON, PREFIX, TEXT, ZERO, Streams

# ---- PUT ----------------------------------------------------------------------------------------------------


def test_a_new_stream_answers_where_it_is_and_what_it_holds(streams: Streams, name: str) -> None:
    response = streams.ask("PUT", name, content_type="Text/Plain; Charset=x")
    assert response.status_code == 201
    assert response.headers["location"] == f"{streams.server.url}{PREFIX}/{name}"
    assert response.headers["content-type"] == "Text/Plain; Charset=x"
    assert response.headers["stream-next-offset"] == ZERO
    assert "stream-closed" not in response.headers
    assert streams.look(name).headers["content-type"] == "Text/Plain; Charset=x"


def test_a_stream_without_a_type_holds_bytes(streams: Streams, name: str) -> None:
    response = streams.ask("PUT", name)
    assert (response.status_code, response.headers["content-type"]) == (201, "application/octet-stream")


def test_the_same_again_finds_it_there_and_stores_nothing(streams: Streams, name: str) -> None:
    offset = streams.create(name, TEXT, b"first", stream_ttl="60")
    before = streams.tip()
    response = streams.ask("PUT", name, b"second", content_type="TEXT/plain;charset=utf-8", stream_ttl="60")
    assert (response.status_code, response.headers["stream-next-offset"]) == (200, offset)
    assert streams.tip() == before
    assert streams.look(name).content == b"first"


def test_a_stream_may_be_created_closed_with_all_that_it_will_ever_hold(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"all", stream_closed="true")
    again = streams.ask("PUT", name, content_type=TEXT, stream_closed="TRUE")
    assert (again.status_code, again.headers["stream-closed"]) == (200, "true")
    response = streams.look(name)
    assert (response.content, response.headers["stream-closed"]) == (b"all", "true")


def test_only_a_new_stream_may_be_given_an_empty_array(streams: Streams, name: str) -> None:
    assert streams.create(name, JSON, b"[]") == ZERO
    assert streams.look(name).content == b"[]"


def test_the_messages_of_one_request_are_one_step(streams: Streams, name: str) -> None:
    streams.create(name, JSON)
    offset = streams.add(name, b"[1,2,3]", JSON)
    assert streams.look(name, offset=offset).content == b"[]"
    assert streams.look(name).content == b"[1,2,3]"


def test_a_stream_that_was_deleted_may_be_created_anew_and_shows_nothing_of_the_old(
    streams: Streams, name: str
) -> None:
    old = streams.create(name, TEXT, b"old")
    assert streams.ask("DELETE", name).status_code == 204
    assert streams.ask("DELETE", name).status_code == 404
    empty = streams.create(name, JSON)
    assert empty > old, "an offset of the new stream is beyond those of the old"
    assert streams.look(name).content == b"[]"
    assert streams.ask("HEAD", name).headers["stream-next-offset"] == empty
    streams.add(name, b"1", JSON)
    assert streams.look(name, offset=empty).content == b"[1]"


# ---- POST ---------------------------------------------------------------------------------------------------


def test_offsets_rise_with_every_append(streams: Streams, name: str) -> None:
    offsets = [streams.create(name), *[streams.add(name, b"%d" % number) for number in range(5)]]
    assert offsets == sorted(set(offsets))
    for number, offset in enumerate(offsets):
        response = streams.look(name, offset=offset)
        assert response.content == b"01234"[number:]
        assert response.headers["stream-next-offset"] == offsets[-1]


def test_a_publishers_own_sequence_rises_by_its_bytes(streams: Streams, name: str) -> None:
    streams.create(name)
    for sequence in ("10", "2", "B", "a", "aa", "\u00e9"):
        streams.add(name, b"x", stream_seq=sequence)
    assert streams.ask("POST", name, b"x", content_type=TEXT, stream_seq="aa").status_code == 409
    streams.add(name, b"y")
    assert streams.look(name).content == b"xxxxxxy"


def numbered(streams: Streams, stream: str, epoch: int, sequence: int, body: bytes | None = b"x", **more: str):  # type: ignore[no-untyped-def]  # httpx2.Response
    producer = {"producer_id": "p", "producer_epoch": str(epoch), "producer_seq": str(sequence)}
    return streams.ask("POST", stream, body, content_type=more.pop("kind", TEXT), **producer, **more)


def test_a_retry_of_a_producer_is_answered_with_its_newest_number_and_stored_once(streams: Streams, name: str) -> None:
    streams.create(name)
    for sequence in range(3):
        response = numbered(streams, name, 3, sequence, b"%d" % sequence)
        assert response.status_code == 200
        assert (response.headers["producer-epoch"], response.headers["producer-seq"]) == ("3", str(sequence))
    again = numbered(streams, name, 3, 1, b"another body")
    assert (again.status_code, again.headers["producer-seq"]) == (204, "2")
    assert streams.look(name).content == b"012"
    assert numbered(streams, name, 4, 0, b"3").status_code == 200
    assert numbered(streams, name, 3, 3).status_code == 403
    assert streams.look(name).content == b"0123"


def test_a_retry_is_a_duplicate_before_its_sequence_is_looked_at(streams: Streams, name: str) -> None:
    streams.create(name)
    assert numbered(streams, name, 0, 0, stream_seq="b").status_code == 200
    assert numbered(streams, name, 0, 0, stream_seq="a").status_code == 204
    assert numbered(streams, name, 0, 1, stream_seq="b").status_code == 409
    assert numbered(streams, name, 0, 1, stream_seq="c").status_code == 200


def test_a_request_that_is_refused_does_not_take_its_number(streams: Streams, name: str) -> None:
    streams.create(name, JSON)
    assert numbered(streams, name, 0, 0, b"{", kind=JSON).status_code == 400
    assert numbered(streams, name, 0, 0, b"1", kind=TEXT).status_code == 409
    assert numbered(streams, name, 0, 0, b"1", kind=JSON).status_code == 200


def test_closing_again_is_fine_and_answers_the_same(streams: Streams, name: str) -> None:
    final = streams.create(name, TEXT, b"x")
    for _ in range(2):
        response = streams.ask("POST", name, content_type="image/png", stream_closed="True")
        assert (response.status_code, response.headers["stream-closed"]) == (204, "true")
        assert response.headers["stream-next-offset"] == final
    refused = streams.ask("POST", name, b"y", content_type=TEXT)
    assert (refused.status_code, refused.headers["stream-next-offset"]) == (409, final)


def test_the_last_append_and_the_closing_are_one_step(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"a")
    final = streams.close_stream(name, b"b")
    response = streams.look(name)
    assert (response.content, response.headers["stream-next-offset"]) == (b"ab", final)
    assert response.headers["stream-closed"] == "true"


def test_a_producers_closing_is_a_duplicate_when_it_comes_again_and_nothing_else_is(
    streams: Streams, name: str
) -> None:
    streams.create(name)
    assert numbered(streams, name, 0, 0, b"x", stream_closed="true").status_code == 200
    again = numbered(streams, name, 0, 0, b"x", stream_closed="true")
    assert (again.status_code, again.headers["stream-closed"]) == (204, "true")
    other = numbered(streams, name, 0, 1, b"y", stream_closed="true")
    assert (other.status_code, other.headers["stream-closed"]) == (409, "true")
    assert streams.look(name).content == b"x"


def test_a_producer_closes_without_content(streams: Streams, name: str) -> None:
    streams.create(name)
    for _ in range(2):
        response = numbered(streams, name, 0, 0, None, stream_closed="true")
        assert (response.status_code, response.headers["producer-seq"]) == (204, "0")
        assert response.headers["stream-closed"] == "true"


def test_a_closed_stream_can_be_deleted(streams: Streams, name: str) -> None:
    streams.create(name, stream_closed="true")
    assert streams.ask("DELETE", name).status_code == 204
    assert streams.look(name).status_code == 404


# ---- forks --------------------------------------------------------------------------------------------------


def path(stream: str) -> str:
    return f"{PREFIX}/{stream}"


def test_a_fork_shows_what_its_source_held_and_goes_its_own_way(streams: Streams, name: str) -> None:
    streams.create(name, JSON, b"[1,2]")
    middle = streams.add(name, b"3", JSON)
    streams.add(name, b"4", JSON)
    streams.ask("PUT", f"{name}/f", stream_forked_from=path(name), stream_fork_offset=middle)
    streams.add(name, b"5", JSON)
    streams.add(f"{name}/f", b"[30]", JSON)
    response = streams.look(f"{name}/f")
    assert (response.content, response.headers["content-type"]) == (b"[1,2,3,30]", JSON)
    assert streams.look(f"{name}/f", offset=middle).content == b"[30]"
    assert streams.look(name).content == b"[1,2,3,4,5]"
    assert not [header for header in response.headers if "fork" in header]


def test_forks_of_forks_show_it_all(streams: Streams, name: str) -> None:
    streams.create(f"{name}/0", TEXT, b"0")
    for number in range(1, 5):
        above = path(f"{name}/{number - 1}")
        streams.create(f"{name}/{number}", TEXT, b"%d" % number, stream_forked_from=above)
        streams.add(f"{name}/{number - 1}", b"x")
    assert streams.look(f"{name}/4").content == b"01234"


@pytest.mark.parametrize(
    ("kind", "parts", "count", "seen"),
    [
        (TEXT, [b"ab", b"cde"], "2", b"abcd"),
        (TEXT, [b"ab", b"cde"], "3", b"abcde"),
        (TEXT, [b"ab", b"cde"], "0", b"ab"),
        (JSON, [b"1", b"[2,3,4]"], "2", b"[1,2,3]"),
        (JSON, [b"1", b"[2,3,4]"], "3", b"[1,2,3,4]"),
    ],
)
def test_a_fork_may_begin_within_a_request(
    streams: Streams, name: str, kind: str, parts: list[bytes], count: str, seen: bytes
) -> None:
    streams.create(name, kind)
    first, _ = [streams.add(name, part, kind) for part in parts]
    asked = {"stream_forked_from": path(name), "stream_fork_offset": first, "stream_fork_sub_offset": count}
    offset = streams.create(f"{name}/f", kind, **asked)
    assert streams.look(f"{name}/f").content == seen
    assert streams.look(f"{name}/f", offset=offset).content in (b"", b"[]")


def test_the_same_fork_again_is_found_there(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"abc")
    asked = {"stream_forked_from": path(name), "stream_fork_offset": ZERO, "stream_fork_sub_offset": "2"}
    streams.create(f"{name}/f", **asked)
    assert streams.ask("PUT", f"{name}/f", **asked).status_code == 200
    for other in ({"stream_fork_sub_offset": "1"}, {"stream_forked_from": path(f"{name}/f")}):
        assert streams.ask("PUT", f"{name}/f", **{**asked, **other}).status_code == 409


def test_a_fork_is_open_and_knows_no_publishers_of_its_source(streams: Streams, name: str) -> None:
    streams.create(name)
    assert numbered(streams, name, 0, 0, b"a", stream_seq="b").status_code == 200
    streams.close_stream(name)
    assert "stream-closed" not in streams.ask("PUT", f"{name}/f", stream_forked_from=path(name)).headers
    assert numbered(streams, f"{name}/f", 0, 0, b"b", stream_seq="a").status_code == 200
    assert streams.look(f"{name}/f").content == b"ab"


def test_a_source_that_is_deleted_lives_on_in_its_forks_and_goes_with_the_last(streams: Streams, name: str) -> None:
    streams.create(f"{name}/0", TEXT, b"0")
    for number in (1, 2):
        streams.create(f"{name}/{number}", stream_forked_from=path(f"{name}/{number - 1}"))
    for number in (0, 1):
        assert streams.ask("DELETE", f"{name}/{number}").status_code == 204
        assert streams.look(f"{name}/{number}").status_code == 410
    assert streams.look(f"{name}/2").content == b"0"
    assert streams.ask("DELETE", f"{name}/2").status_code == 204
    assert [streams.look(f"{name}/{number}").status_code for number in range(3)] == [404, 404, 404]
    streams.create(f"{name}/0", JSON)


@pytest.mark.parametrize(
    ("asked", "has"),
    [
        ({}, {"stream-ttl": "100"}),
        ({"stream_ttl": "500"}, {"stream-ttl": "500"}),
        ({"stream_expires_at": "2090-01-01T00:00:00Z"}, {"stream-expires-at": "2090-01-01T00:00:00Z"}),
    ],
)
def test_a_fork_lives_as_it_is_asked_to_or_as_its_source(
    streams: Streams, name: str, asked: dict[str, str], has: dict[str, str]
) -> None:
    streams.create(name, stream_ttl="100")
    streams.create(f"{name}/f", stream_forked_from=path(name), **asked)
    said = streams.ask("HEAD", f"{name}/f").headers
    assert {header: said[header] for header in ("stream-ttl", "stream-expires-at") if header in said} == has


def test_a_source_is_named_as_it_is_in_a_url(streams: Streams, name: str) -> None:
    streams.create(f"{name}/a%20b", TEXT, b"x")
    streams.create(f"{name}/f", stream_forked_from=path(f"{name}/a%20b"))
    assert streams.look(f"{name}/f").content == b"x"


# ---- a stream's time ----------------------------------------------------------------------------------------

TTL = 100


@pytest.mark.parametrize(
    ("use", "renews"),
    [
        (lambda streams, name: streams.look(name), True),
        (lambda streams, name: streams.look(name, offset="now"), True),
        (lambda streams, name: streams.look(name, offset=ZERO, live="long-poll"), True),
        (lambda streams, name: streams.add(name, b"x"), True),
        (lambda streams, name: streams.close_stream(name), True),
        (lambda streams, name: numbered(streams, name, 0, 0, None, stream_closed="true"), True),
        (lambda streams, name: streams.ask("HEAD", name), False),
        (lambda streams, name: streams.ask("PUT", name, content_type=TEXT, stream_ttl=str(TTL)), False),
        (lambda *_: None, False),
    ],
    ids=["read", "read now", "long-poll", "append", "close", "close by number", "head", "put again", "nothing"],
)
def test_what_is_used_lives_on_and_what_is_only_looked_at_does_not(streams: Streams, name: str, use, renews) -> None:  # type: ignore[no-untyped-def]
    streams.create(name, TEXT, b"x", stream_ttl=str(TTL))
    streams.server.clock.advance(TTL * 0.6)
    use(streams, name)
    streams.server.clock.advance(TTL * 0.6)
    assert streams.ask("HEAD", name).status_code == (200 if renews else 404)
    streams.server.clock.advance(TTL)
    assert streams.look(name).status_code == 404


def test_a_stream_whose_time_is_up_is_nowhere_and_its_path_is_free(streams: Streams, name: str) -> None:
    old = streams.create(name, TEXT, b"x", stream_ttl="10")
    streams.server.clock.advance(10)
    for method, body in (("GET", None), ("HEAD", None), ("POST", b"x"), ("DELETE", None)):
        assert streams.ask(method, name, body, content_type=TEXT).status_code == 404
    assert streams.create(name, JSON) > old
    assert streams.look(name).content == b"[]"


def test_a_moment_is_not_put_off_by_use(streams: Streams, name: str) -> None:
    ends = streams.server.clock.now.replace(year=streams.server.clock.now.year + 1).isoformat()
    streams.create(name, TEXT, b"x", stream_expires_at=ends)
    assert streams.ask("HEAD", name).headers["stream-expires-at"] == ends
    streams.server.clock.advance(364 * 86_400)
    assert streams.look(name).status_code == 200
    streams.server.clock.advance(3 * 86_400)
    assert streams.look(name).status_code == 404


def test_a_time_of_nothing_is_over_at_once(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"x", stream_ttl="0")
    assert streams.look(name).status_code == 404


def test_a_source_whose_time_is_up_is_gone_while_its_forks_live(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"x", stream_ttl="10")
    streams.create(f"{name}/f", stream_forked_from=path(name), stream_ttl="1000")
    streams.server.clock.advance(11)
    assert streams.look(name).status_code in (404, 410)
    assert streams.look(f"{name}/f").content == b"x"
