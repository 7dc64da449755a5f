"""Fetch what the peers need, into `benchmarks/.peers/` (and nginx with nchan from Debian).

    python benchmarks/peers/setup.py

Each part that cannot be had is named, and left out; the others go on. Nothing fetched is ever committed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from peers import c_loop, nchan
from peers.peer import FETCHED

NODE = "@durable-streams/server@0.3.7"
DEBIAN = ("nginx-light", "libnginx-mod-nchan")


def node() -> None:
    """The Durable Streams server. Its native helpers have portable twins, so that no install script needs to run."""
    folder = FETCHED / "node"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}\n')
    run("npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", "--silent", NODE)


def nginx() -> None:
    """nginx with nchan, which must not start by itself."""
    if nchan.MODULE.exists():
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    assignments = [f"{name}={value}" for name, value in quiet.items()]
    run(*sudo, "apt-get", "-qq", "update")
    run(*sudo, "env", *assignments, "apt-get", "-qq", "install", "--yes", "--no-install-recommends", *DEBIAN)


def run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


PARTS: dict[str, Callable[[], object]] = {
    "C write() loop": c_loop.built,
    "Durable Streams": node,
    "nchan": nginx,
}


def main() -> None:
    for name, part in PARTS.items():
        try:
            part()
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name:24} left out: {error}")
        else:
            print(f"{name:24} ready")
    for name in ("mercure", "centrifugo"):
        found = (FETCHED / "bin" / name).exists() or shutil.which(name)
        print(f"{name:24} {'ready' if found else 'left out: put one on the path (benchmarks/README.md says why)'}")


if __name__ == "__main__":
    main()
