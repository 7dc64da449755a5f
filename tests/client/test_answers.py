"""What an HTTP answer says to a publisher."""

from __future__ import annotations

import msgspec
import pytest

from tailrace.client import answers
from tailrace.client.answers import Stored
from tailrace.client.reconnect import Refused
from tailrace.core.receipt import Receipt


def understood(status: int, body: bytes) -> Stored | Refused | None:
    return answers.understood(status, "", {}, body)


RECEIPT = Receipt("1-5", "1-7", 3, False, "fsync")


@pytest.mark.parametrize("status", [200, 201])
def test_a_receipt_is_read(status: int) -> None:
    assert understood(status, msgspec.json.encode(RECEIPT)) == Stored(RECEIPT)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"first": "1-1"}', b'"\xff"'])
def test_success_without_a_receipt_is_no_answer(body: bytes) -> None:
    assert understood(200, body) is None


def test_a_refusal_is_told_by_its_problem_document() -> None:
    body = b'{"detail": "The topic is closed.", "code": "topic_closed", "retry": false, "other": 1}'
    assert understood(409, body) == Refused(409, "The topic is closed.", None, "topic_closed", False)


@pytest.mark.parametrize("body", [b"", b"<html>\xff", b"[1]", b'{"detail": null}'])
def test_a_refusal_without_one_is_told_by_its_status(body: bytes) -> None:
    refusal = answers.understood(507, "Insufficient Storage", {}, body)
    assert isinstance(refusal, Refused)
    assert refusal.reason == "The server answered 507 Insufficient Storage"


def test_a_status_that_nobody_knows_is_told_as_a_number() -> None:
    refusal = understood(599, b"")
    assert isinstance(refusal, Refused)
    assert refusal.reason == "The server answered 599"


@pytest.mark.parametrize(
    ("status", "body", "again", "stored_nothing"),
    [
        (400, b"", False, True),
        (408, b"", True, False),
        (425, b"", True, True),
        (429, b"", True, True),
        (500, b"", True, False),
        (503, b'{"code": "overloaded"}', True, True),
        (503, b'{"code": "draining"}', True, True),
        (503, b'{"code": "unavailable"}', True, False),
        (503, b'{"code": "store_corrupt", "retry": false}', False, False),
    ],
)
def test_what_may_be_tried_again_and_what_is_known(status: int, body: bytes, again: bool, stored_nothing: bool) -> None:
    refusal = understood(status, body)
    assert isinstance(refusal, Refused)
    assert (refusal.passes, answers.stored_nothing(refusal)) == (again, stored_nothing)


def test_when_to_come_back_is_read_as_a_reader_does() -> None:
    refusal = answers.understood(503, "", {"retry-after": "7"}, b"")
    assert isinstance(refusal, Refused)
    assert refusal.retry_after == 7.0


def test_one_of_several_has_its_own_place_if_it_can_be_told() -> None:
    assert RECEIPT.of(1, 3) == Receipt("1-6", "1-6", 1, False, "fsync")


@pytest.mark.parametrize(
    "receipt",
    [
        Receipt("1-5", "1-8", 3, False, "fsync"),
        Receipt("1-5", "1-7", 2, False, "fsync"),
        Receipt("1-5", "2-7", 3, False, "fsync"),
        Receipt(None, None, 3, True, "fsync"),
        Receipt("strange", "strange", 3, False, "fsync"),
    ],
)
def test_else_it_is_told_what_is_known_of_all(receipt: Receipt) -> None:
    assert receipt.of(1, 3) is receipt
