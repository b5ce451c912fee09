"""How near `pointsman collect` comes to the ideal rate: two fake models with a latency, many calls in flight.

    python -m benchmarks.collect [--rows 600 --latency 0.2 --concurrency 32]

Prints JSON: calls a second from the first call to the last one, and their share of concurrency / latency.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.support.fake_models import Models, fake_models


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of one answer")
    parser.add_argument("--concurrency", type=int, default=32)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, fake_models(args.latency) as models:
        directory, calls = Path(place), 2 * args.rows
        lines = (json.dumps({"query": f"question number {at} of the day"}) + "\n" for at in range(args.rows))
        (directory / "log.jsonl").write_text("".join(lines))
        (directory / "gateway.toml").write_text(models.config())
        seconds: list[float] = []
        watch = threading.Thread(target=lambda: seconds.append(span(models, calls)))
        watch.start()
        words = ["collect", "log.jsonl", "--config", "gateway.toml", "--output", "work", "--yes"]
        command = [sys.executable, "-m", "pointsman", *words, "--concurrency", str(args.concurrency)]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
        watch.join()
    rate, ideal = calls / (seconds[0] + args.latency), args.concurrency / args.latency
    print(json.dumps({"calls": calls, "calls_per_s": rate, "ideal": ideal, "share": rate / ideal}))


def span(models: Models, calls: int) -> float:
    """Seconds from the first call's arrival to the last one's."""
    first = None
    while (seen := len(models.local.seen) + len(models.cloud.seen)) < calls:
        first = time.monotonic() if first is None and seen else first
        time.sleep(0.01)
    return time.monotonic() - (first or time.monotonic())


if __name__ == "__main__":
    main()
