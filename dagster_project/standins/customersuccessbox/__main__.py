"""``python -m dagster_project.standins.customersuccessbox``: one account in the foreground, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from .app import DEFAULT_KEY, CustomerSuccessBox


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m dagster_project.standins.customersuccessbox", description=__doc__
    )
    parser.add_argument("--port", type=int, default=8766, help="0 takes a free one")
    parser.add_argument("--key", default=DEFAULT_KEY, help="the API key that is accepted")
    args = parser.parse_args(argv)
    stopped = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stopped.set())
    with CustomerSuccessBox(args.port, key=args.key) as box:
        print(f"CustomerSuccessBox stand-in on {box.base_url}")
        print(f"CSB_BASE_URL={box.base_url} CSB_API_KEY={args.key}", flush=True)
        stopped.wait()
        for key, total in sorted(box.totals.items()):
            print(*key, total, sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main())
