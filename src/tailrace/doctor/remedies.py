"""What to change where, word for word: one table, by what is wrong and by which proxy stands there. Pure.

`deploy/` has the whole configurations that these lines are from, and the tests run them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Proxy(Enum):
    """Who answers in front of the server, by its own word."""

    NGINX = "nginx"
    CADDY = "Caddy"
    HAPROXY = "HAProxy"
    OTHER = "another proxy"
    UNNAMED = "nobody who says so"


class Trouble(Enum):
    """What a proxy can do to streams."""

    BUFFERS = "buffers"
    COMPRESSES = "compresses"
    NO_COMPRESSION = "no compression"
    OLD_HTTP = "old HTTP"
    IDLE = "idle"
    CROWD = "crowd"
    NO_RESUME = "no resume"
    CACHES = "caches"


_DIRECTIVES: Final[Mapping[Trouble, Mapping[Proxy, str]]] = {
    Trouble.BUFFERS: {
        Proxy.NGINX: "`proxy_buffering off;` and `proxy_http_version 1.1;` in the location, at each nginx of a chain",
        Proxy.CADDY: "`flush_interval -1` in reverse_proxy",
        Proxy.HAPROXY: "no `option http-buffer-request` and no cache or Lua filter that waits for whole answers",
    },
    Trouble.COMPRESSES: {
        Proxy.NGINX: "`gzip off;` in the location, or text/event-stream taken out of `gzip_types`",
        Proxy.CADDY: "`encode` only for other paths, or `match { header Content-Type text/html* }` inside it",
        Proxy.HAPROXY: "text/event-stream taken out of `compression type`",
    },
    Trouble.NO_COMPRESSION: {
        Proxy.NGINX: 'no `proxy_set_header Accept-Encoding "";`',
        Proxy.CADDY: "no `header_up -Accept-Encoding`",
        Proxy.HAPROXY: "no `compression offload` and no `http-request del-header Accept-Encoding`",
    },
    Trouble.OLD_HTTP: {
        Proxy.NGINX: '`proxy_http_version 1.1;` and `proxy_set_header Connection "";`',
        Proxy.CADDY: "no `versions` in `transport http` but 1.1",
        Proxy.HAPROXY: "no `http-request set-var` or Lua that rewrites the version; HTTP/1.1 is its default",
    },
    Trouble.IDLE: {
        Proxy.NGINX: "`proxy_read_timeout 1h;` and `proxy_send_timeout 1h;`",
        Proxy.CADDY: "no `read_timeout` in `transport http`, no `write_timeout` in the server's `timeouts`",
        Proxy.HAPROXY: "`timeout server 1h` and `timeout client 1h`",
    },
    Trouble.CROWD: {
        Proxy.NGINX: "`worker_connections 16384;` in events (a stream takes two), `worker_rlimit_nofile 65536;`",
        Proxy.CADDY: "`LimitNOFILE=1048576` in its systemd unit (a stream takes two files)",
        Proxy.HAPROXY: "`maxconn 20000` in global and defaults, and on its `server` lines if it stands there",
    },
    Trouble.NO_RESUME: {
        Proxy.NGINX: 'no `proxy_set_header Last-Event-ID "";` and no `proxy_pass_request_headers off;`',
        Proxy.CADDY: "no `header_up -Last-Event-ID`",
        Proxy.HAPROXY: "no `http-request del-header Last-Event-ID`",
    },
    Trouble.CACHES: {
        Proxy.NGINX: "no `proxy_hide_header Cache-Control;`, `expires` or `proxy_cache` in the location",
        Proxy.CADDY: "no `header_down -Cache-Control`",
        Proxy.HAPROXY: "no `http-response del-header Cache-Control`",
    },
}


def recognised(headers: Mapping[str, str]) -> Proxy:
    """Who answered. Our own server does not name itself, and neither does HAProxy."""
    named = f"{headers.get('server', '')} {headers.get('via', '')}".strip().lower()
    for proxy, mark in ((Proxy.NGINX, "nginx"), (Proxy.CADDY, "caddy"), (Proxy.HAPROXY, "haproxy")):
        if mark in named:
            return proxy
    return Proxy.OTHER if named else Proxy.UNNAMED


def remedy(trouble: Trouble, proxy: Proxy) -> str:
    """What to change: at the proxy that stands there, or at each that may."""
    directives = _DIRECTIVES[trouble]
    if proxy in directives:
        return f"{proxy.value}: {directives[proxy]}"
    return "\n".join(f"{one.value}: {text}" for one, text in directives.items())
