"""What can be mistyped is told at once; what a refusal says is read with care."""

from __future__ import annotations

import httpx2
import pytest

from tailrace.client import Follow, Publisher, Reader
from tailrace.client.http import refused
from tailrace.errors import InvalidParameter


@pytest.mark.parametrize("url", ["", "127.0.0.1:4437", "localhost:4437", "ftp://host", "http://", "http://[::", "/api"])
def test_what_is_no_address_is_refused_before_anything_is_tried(url: str) -> None:
    with pytest.raises(InvalidParameter, match="give one such as http"):
        Reader(url, Follow())
    with pytest.raises(InvalidParameter, match="is not the address of a server"):
        Publisher(url)


@pytest.mark.parametrize("key", ["", "secret\n", "two words", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(InvalidParameter, match="give the key alone") as refusal:
        Publisher("http://localhost", token=key)
    assert not key or key not in refusal.value.sentence


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0", 0.0), ("", None), ("-1", None), ("²", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
def test_retry_after_is_understood_in_seconds_alone(header: str, seconds: float | None) -> None:
    response = httpx2.Response(503, headers=[(b"retry-after", header.encode("latin-1"))], content=b"")
    assert refused(response).retry_after == seconds


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
    assert refused(httpx2.Response(507, content=body)).reason == said
