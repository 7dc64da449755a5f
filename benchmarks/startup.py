"""`tailrace serve` from start to ready (its first line, written when it answers). To reach: 0.7 s."""

from __future__ import annotations

from harness import keep, server


def main() -> None:
    print("startup")
    times = []
    for _ in range(7):
        with server("sqlite") as running:
            times.append(running.ready_seconds)
            memory = running.rss_megabytes()
    keep("startup", {"median of 7, s": sorted(times)[3], "worst, s": max(times), "memory when ready, MB": memory})


if __name__ == "__main__":
    main()
