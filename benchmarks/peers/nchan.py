"""nginx with nchan: memory storage, one worker."""

from __future__ import annotations

import contextlib
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from peers.peer import Peer, PeerMissing, folder, free_port, need, running
from tailrace.bench import Target
from tailrace.bench.target import request

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
SPARE_FILES = 100
"""What nginx opens beside its connections."""
CONFIG = """
load_module {module};
user root;
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {connections}; use epoll; multi_accept on; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  tcp_nodelay on;
  gzip off;
  nchan_shared_memory_size 512M;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location ~ ^/publish/(.+)$ {{ nchan_publisher http; nchan_channel_id $1; nchan_message_buffer_length 1000; }}
    location ~ ^/follow/(.+)$ {{
      nchan_subscriber eventsource;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
    }}
  }}
}}
"""


@contextlib.contextmanager
def start(topics: int = 1) -> Iterator[Peer]:
    """Debian's nginx and libnginx-mod-nchan."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if nginx is None:
        raise PeerMissing("nginx is not there: make peers")
    port = free_port()
    with folder() as fresh:
        config = fresh / "nginx.conf"
        connections = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_FILES
        config.write_text(CONFIG.format(module=need(MODULE), folder=fresh, port=port, connections=connections))
        with running([nginx, "-e", "stderr", "-p", fresh, "-c", config], port) as pids:
            host = f"127.0.0.1:{port}"
            target = Target(
                "127.0.0.1",
                port,
                subscribe=lambda n: request("GET", f"/follow/t{n % topics}", host=host, accept="text/event-stream"),
                publish=lambda t, body: request(
                    "POST", f"/publish/t{t}", body, host=host, content_type="application/json"
                ),
                topics=topics,
                pids=pids,
            )
            yield Peer(port, pids, target)
