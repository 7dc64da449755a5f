"""TEMP."""

import argparse


def main():
    p = argparse.ArgumentParser()
    p.add_argument("cmd")
    p.add_argument("--port", type=int, default=4437)
    p.add_argument("--store", default="memory://")
    p.add_argument("--log-level")
    a = p.parse_args()
    from tailrace.server.config import Settings
    from tailrace.server.run import serve

    serve(Settings(port=a.port, store=a.store), lambda r: print("ready", r.url, flush=True))
