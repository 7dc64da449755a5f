"""What a nats:// URL says, and how a wrong one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.errors import ConfigError
from tailrace.stores.nats.address import parse


def test_a_url_names_servers_user_and_log() -> None:
    address = parse("nats://me:s%3Acret@one,two:4333,[::1]:4444/orders")
    assert address.servers == ("nats://one:4222", "nats://two:4333", "nats://[::1]:4444")
    assert (address.user, address.password, address.log) == ("me", "s:cret", "orders")
    assert (address.replicas, address.replica, address.syncs) == (None, None, False)
    assert "cret" not in address.shown


def test_options_stand_in_the_query() -> None:
    address = parse("tls://a/log?replicas=3&replica=/var/x.db&sync=always&timeout=1.5&ca=ca.pem&creds=me.creds")
    assert (address.replicas, address.replica, address.syncs) == (3, Path("/var/x.db"), True)
    assert address.timeout_seconds == 1.5
    assert (address.authorities, address.credentials) == (Path("ca.pem"), Path("me.creds"))
    assert address.servers == ("tls://a:4222",)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nats://host", "must end with the log's name"),
        ("nats://host/", "must end with the log's name"),
        ("nats://host/a.b", "must end with the log's name"),
        ("nats:///log", "is no server"),
        ("nats://host:0/log", "is no server"),
        ("nats://host:70000/log", "is no server"),
        ("nats://host:x/log", "is no server"),
        ("nats://host,/log", "is no server"),
        ("nats://host/log?replica_=x", "Did you mean 'replica'?"),
        ("nats://host/log?replicas=", "on how many servers"),
        ("nats://host/log?replicas=6", "1 to 5"),
        ("nats://host/log?replicas=two", "1 to 5"),
        ("nats://host/log?replica=", "a file for this node's copy"),
        ("nats://host/log?sync=sometimes", "'always', if that is"),
        ("nats://host/log?timeout=0", "at most 60"),
        ("nats://host/log?timeout=nan", "at most 60"),
    ],
)
def test_a_wrong_url_is_refused_with_what_is_wrong(url: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(url)
    assert told in caught.value.sentence


def test_an_error_never_shows_the_password() -> None:
    for url in ("nats://me:secret@host/a.b", "nats://me:secret@host/log?x=1", "nats://me:secret@ho st/log"):
        with pytest.raises(ConfigError) as caught:
            parse(url)
        assert "secret" not in caught.value.sentence
