"""Where webhooks may be: not in the server's own network, by whatever name."""

from __future__ import annotations

import ipaddress

import pytest

from tailrace.doors.durable_streams.subscriptions.refusals import SubscriptionRefused
from tailrace.doors.durable_streams.subscriptions.urls import check_url, is_public, resolve_by_system, target_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "url",
    [
        "https://worker.example/hook",
        "https://worker.example:8443/hook?a=b",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]/",
        "http://localhost/hook",
        "http://LOCALHOST:3000",
        "http://127.0.0.1:80/",
        "http://127.1.2.3/",
    ],
)
def test_public_https_and_local_http_are_allowed(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "worker.example",
        "ftp://worker.example/",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://worker.example:0/",
        "https://worker.example:99999/",
        "https://[::1",
        "https://user:secret@worker.example/",
        "https://user@worker.example/",
        "https://worker.example/a b",
        "https://worker.example\\@10.0.0.1/",
        "https://worker.example/\n",
        "https://wörker.example/",
        "https://worker.example/" + "x" * 2048,
        "http://worker.example/",
        "http://10.0.0.1/hook",
        "http://[::1]/",
        "http://localhost.worker.example/",
        "http://127.0.0.1.nip.example/",
        "https://localhost/",
        "https://localhost./",
        "https://a.localhost/",
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://10.0.0.1./",
        "https://[::1]/",
        "https://[::]/",
        "https://[fe80::1]/",
        "https://[fc00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[::10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::]/",
        "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
        "https://[ff02::1]/",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(SubscriptionRefused) as refused:
        check_url(url)
    assert refused.value.code == "WEBHOOK_URL_REJECTED"


async def test_the_connection_goes_to_the_address_that_was_looked_at() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        assert (host, port) == ("worker.example", 8443)
        return ["8.8.8.8", "2606:4700:4700::1111"]

    target = await target_of("https://worker.example:8443/hook?a=b#c", resolve)
    assert target == ("https://8.8.8.8:8443/hook?a=b", "worker.example:8443", "worker.example")


async def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    target = await target_of("https://[2606:4700:4700::1111]/", resolve_by_system)
    assert target.url == "https://[2606:4700:4700::1111]:443/"


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("https://worker.example/", ["10.0.0.1"]),
        ("https://worker.example/", ["8.8.8.8", "127.0.0.1"]),
        ("https://worker.example/", ["::1"]),
        ("http://localhost/", ["8.8.8.8"]),
    ],
)
async def test_a_name_that_leads_elsewhere_is_refused_when_it_is_called(url: str, addresses: list[str]) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return addresses

    with pytest.raises(SubscriptionRefused, match="leads to"):
        await target_of(url, resolve)


async def test_a_name_without_an_address_cannot_be_called() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return []

    with pytest.raises(OSError, match="no address"):
        await target_of("https://worker.example/", resolve)


async def test_the_system_knows_this_machine() -> None:
    target = await target_of("http://localhost:81/hook", resolve_by_system)
    assert target.url in ("http://127.0.0.1:81/hook", "http://[::1]:81/hook")


def test_what_is_public_is_told_by_address() -> None:
    assert is_public(ipaddress.ip_address("1.1.1.1"))
    assert not is_public(ipaddress.ip_address("192.0.2.1"))
