"""The Mercure hub, with its local transport (no history) and readers without tokens.

`setup.py` cannot fetch it (see README.md): it takes part where a `mercure` 1.x is on the path or in `.peers/bin`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import shutil
import time
from collections.abc import Iterator
from urllib.parse import quote

from peers.peer import FETCHED, Peer, PeerMissing, folder, free_port, running
from tailrace.bench import Target
from tailrace.bench.target import request

KEY = "a-key-of-this-benchmark-and-of-nothing-else"
ISSUER = "https://localhost"
TOKEN_SECONDS = 24 * 3600
CONFIG = """
{{
  admin off
  auto_https off
  persist_config off
  log {{
    level ERROR
  }}
  servers {{
    protocols h1
  }}
}}
http://127.0.0.1:{port} {{
  bind 127.0.0.1
  mercure {{
    issuer {issuer} {{
      publisher {{
        jwt {key} HS256
      }}
    }}
    anonymous
    transport local
    write_timeout 0s
  }}
}}
"""


@contextlib.contextmanager
def start(topics: int = 1) -> Iterator[Peer]:
    """`mercure run`, over HTTP/1.1 without TLS like all the others."""
    mercure = shutil.which("mercure", path=f"{FETCHED / 'bin'}:/usr/local/bin:/usr/bin")
    if mercure is None:
        raise PeerMissing("mercure is not there: put a mercure 1.x on the path or into benchmarks/.peers/bin")
    port = free_port()
    with folder() as fresh:
        config = fresh / "Caddyfile"
        config.write_text(CONFIG.format(port=port, issuer=ISSUER, key=KEY))
        home = {"HOME": str(fresh), "XDG_DATA_HOME": str(fresh), "XDG_CONFIG_HOME": str(fresh)}
        command = [mercure, "run", "--config", config, "--adapter", "caddyfile"]
        with running(command, port, environment=home) as pids:
            yield Peer(port, pids, _target(port, topics, pids))


def _target(port: int, topics: int, pids: tuple[int, ...]) -> Target:
    host, path = f"127.0.0.1:{port}", "/.well-known/mercure"
    authorization = f"Bearer {_token(f'http://{host}{path}')}"

    def publish(topic: int, body: bytes) -> bytes:
        form = f"topic=t{topic}&data={quote(body)}".encode()
        return request(
            "POST",
            path,
            form,
            host=host,
            authorization=authorization,
            content_type="application/x-www-form-urlencoded",
        )

    def subscribe(stream: int) -> bytes:
        return request("GET", f"{path}?match=t{stream % topics}", host=host)

    return Target("127.0.0.1", port, subscribe, publish, topics=topics, pids=pids)


def _token(audience: str) -> str:
    """An access token (RFC 9068) that may publish to all topics."""
    now = int(time.time())
    header = {"alg": "HS256", "typ": "at+jwt"}
    details = {
        "type": "https://mercure.rocks/authorization-detail",
        "actions": ["publish"],
        "topics": [{"match": "*"}],
    }
    claims = {
        "iss": ISSUER,
        "aud": audience,
        "sub": "benchmark",
        "client_id": "benchmark",
        "jti": "1",
        "iat": now,
        "exp": now + TOKEN_SECONDS,
        "authorization_details": [details],
    }
    signed = f"{_base64(json.dumps(header).encode())}.{_base64(json.dumps(claims).encode())}"
    return f"{signed}.{_base64(hmac.digest(KEY.encode(), signed.encode(), hashlib.sha256))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
