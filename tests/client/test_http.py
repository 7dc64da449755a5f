"""What can be mistyped is told at once; what a refusal says is read with care."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx2
import pytest

from tailrace.client import Publisher, Subscription
from tailrace.client.http import api_base, refusal, retry_after, sentence
from tailrace.client.reconnect import Refused
from tailrace.errors import InvalidParameter


@pytest.mark.parametrize("url", ["", "127.0.0.1:4437", "localhost:4437", "ftp://host", "http://", "http://[::", "/api"])
def test_what_is_no_address_is_refused_before_anything_is_tried(url: str) -> None:
    with pytest.raises(InvalidParameter, match="give one such as http"):
        Subscription(url)
    with pytest.raises(InvalidParameter, match="is not the address of a server"):
        Publisher(url)


@pytest.mark.parametrize("key", ["", "secret\n", "two words", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(InvalidParameter, match="give the key alone") as refusal:
        Publisher("http://localhost", token=key)
    assert not key or key not in refusal.value.sentence


NOW = datetime(2026, 10, 21, 7, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *[("7", 7.0), ("0", 0.0), ("", None), ("-1", None), ("²", None), ("soon", None)],
        *[("Wed, 21 Oct 2026 07:28:30 GMT", 30.0), ("Wednesday, 21-Oct-26 07:28:05 GMT", 5.0)],
        *[("Wed Oct 21 07:29:00 2026", 60.0), ("Tue, 20 Oct 2026 07:28:00 GMT", 0.0), ("99 Foo 99999", None)],
    ],
)
def test_retry_after_is_understood_in_seconds_and_as_a_date(header: str, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


def test_a_refusal_has_the_code_and_the_hope_of_its_problem_document() -> None:
    body = b'{"detail": "damaged", "code": "store_corrupt", "retry": false}'
    assert refusal(503, "", {}, body) == Refused(503, "damaged", None, "store_corrupt", False)


def test_a_redirect_that_is_not_followed_says_where_it_led() -> None:
    moved = refusal(308, "", {"location": "https://example.com/"}, b"")
    assert moved.reason.endswith("it is at https://example.com/. Give that address.")


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://h", "http://h/api/v1"),
        ("http://h:1/", "http://h:1/api/v1"),
        ("https://h/app/live", "https://h/app/live"),
        ("https://h/app/live/", "https://h/app/live"),
    ],
)
def test_an_address_with_a_path_is_that_of_the_api(url: str, base: str) -> None:
    assert api_base(url) == base


def test_an_address_with_a_query_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="give the address of the server alone"):
        api_base("http://h/?topics=a")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"detail": "The disk is full."}', "The disk is full."),
        (b'{"detail": null}', "The server answered 507 Insufficient Storage"),
        (b"[1]", "The server answered 507 Insufficient Storage"),
        (b"<html>\xff", "The server answered 507 Insufficient Storage"),
    ],
)
def test_a_refusal_is_told_in_the_servers_own_sentence_if_it_has_one(body: bytes, said: str) -> None:
    assert sentence(httpx2.Response(507, content=body)) == said
