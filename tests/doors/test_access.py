"""Who may do what: keys with patterns, the Host check of an open server, and CORS."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from tailrace.server.config import AccessSettings, ApiKey, Settings
from tailrace.server.run import Running
from tailrace.testing.server import running_server

ADMIN, SHOP, WEB = "admin-secret-000000", "shop-secret-0000000", "web-secret-00000000"
HISTORY = "/api/v1/events/history"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    keys = (
        ApiKey("admin", ADMIN, publish=("**",), read=("**",), manage=("**",)),
        ApiKey("shop", SHOP, publish=("orders/**",), manage=("orders/**",)),
        ApiKey("web", WEB, read=("orders/*", "news")),
    )
    access = AccessSettings(keys=keys, cors_origins=("https://app.example",))
    with running_server(Settings(port=0, store="memory://", access=access)) as running:
        yield running


def client(server: Running, key: str | None = None, **options: object) -> httpx2.Client:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx2.Client(base_url=server.url, headers=headers, **options)  # type: ignore[arg-type]  # as given


def test_without_a_key_nothing_is_answered_but_probes(server: Running) -> None:
    with client(server) as nobody:
        refused = nobody.get(HISTORY)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert nobody.get("/metrics").status_code == 401
        assert nobody.get("/livez").status_code == 200
        assert nobody.get("/readyz").status_code == 200


def test_a_wrong_key_is_refused_and_not_repeated(server: Running) -> None:
    with client(server, "wrong-wrong-wrong-wrong") as wrong:
        refused = wrong.get(HISTORY)
    assert refused.status_code == 401
    assert "wrong-wrong" not in refused.text


@pytest.mark.parametrize("way", ["header", "cookie", "access_token", "token"])
def test_a_key_is_shown_as_header_cookie_or_parameter(server: Running, way: str) -> None:
    headers = {"header": {"authorization": f"bearer {WEB}"}, "cookie": {"cookie": f"a=b; tailrace_token={WEB}"}}.get(
        way
    )
    params = {"topics": "news", **({way: WEB} if way.endswith("token") else {})}
    with client(server) as caller:
        assert caller.get(HISTORY, params=params, headers=headers).status_code == 200


def test_publishing_reading_and_managing_are_granted_apart(server: Running) -> None:
    with client(server, SHOP) as shop, client(server, WEB) as web:
        assert shop.post("/api/v1/topics/orders/1/events", json=1).status_code == 201
        assert shop.post("/api/v1/topics/news/events", json=1).json()["code"] == "forbidden"
        assert shop.get("/api/v1/topics/orders/1").json()["code"] == "forbidden"
        assert web.get("/api/v1/topics/orders/1").status_code == 200
        assert web.post("/api/v1/topics/orders/1/events", json=1).json()["code"] == "forbidden"
        assert web.delete("/api/v1/topics/orders/1").json()["code"] == "forbidden"
        assert web.put("/api/v1/topics/orders/9", json={}).json()["code"] == "forbidden"
        assert shop.patch("/api/v1/topics/orders/1", json={"compaction": "key"}).status_code == 200


def test_an_exact_topic_that_is_not_granted_is_403_and_a_pattern_is_narrowed(server: Running) -> None:
    with client(server, ADMIN) as admin, client(server, WEB) as web:
        for topic in ("orders/2", "orders/2/items", "secret"):
            admin.post(f"/api/v1/topics/{topic}/events", json=topic)
        refused = web.get(HISTORY, params={"topics": "orders/2,secret"})
        assert (refused.status_code, refused.json()["topic"]) == (403, "secret")
        seen = web.get(HISTORY, params={"topics": "**"}).json()["events"]
        assert "orders/2" in seen
        assert not {"orders/2/items", "secret"} & set(map(str, seen))
        listed = [found["topic"] for found in web.get("/api/v1/topics").json()["topics"]]
        assert "orders/2" in listed
        assert "secret" not in listed


def test_a_key_that_reads_nothing_reads_nothing(server: Running) -> None:
    with client(server, SHOP) as shop:
        assert shop.get(HISTORY).json()["code"] == "forbidden"


def test_a_condition_cannot_be_used_to_look_at_what_may_not_be_read(server: Running) -> None:
    with client(server, SHOP) as shop:
        headers = {"append-condition": "topics=secret&after=1-0"}
        assert shop.post("/api/v1/topics/orders/1/events", json=1, headers=headers).json()["code"] == "forbidden"


def test_pages_of_allowed_origins_may_read_answers_and_streams(server: Running) -> None:
    with client(server, WEB) as web:
        allowed = web.get(HISTORY, params={"topics": "news"}, headers={"origin": "https://app.example"})
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        other = web.get(HISTORY, params={"topics": "news"}, headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        preflight = web.options(
            "/api/v1/topics/orders/1/events",
            headers={
                "origin": "https://app.example",
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization,idempotency-key",
            },
        )
        assert preflight.status_code == 200
        with web.stream(
            "GET", "/api/v1/events/stream", params={"topics": "news"}, headers={"origin": "https://app.example"}
        ) as stream:
            assert stream.headers["access-control-allow-origin"] == "https://app.example"


def test_an_open_server_answers_to_localhost_only() -> None:
    settings = Settings(port=0, store="memory://", access=AccessSettings(hosts=("tailrace.test",)))
    with running_server(settings) as running, client(running) as caller:
        for host in ("localhost:1234", "127.0.0.1", "[::1]:80", "tailrace.test"):
            assert caller.get("/metrics", headers={"host": host}).status_code == 200
        refused = caller.get("/metrics", headers={"host": "evil.example"})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "localhost" in refused.json()["detail"]
