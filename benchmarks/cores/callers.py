"""One process that runs the model on N threads side by side, and prints the bytes that it then holds.

What a run took, its arena keeps. The peak of the process says less: opening the model reached it.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from benchmarks.cores.library import SINGLE, queries

from pointsman.runtime.router import Router
from pointsman.runtime.session import SessionConfig


def main() -> None:
    callers = int(sys.argv[1])
    artifact = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    router = Router.open(artifact, session=SessionConfig(threads=1))
    texts = queries(SINGLE)
    with ThreadPoolExecutor(callers) as pool:
        # Every caller asks for all texts, so all of them hold a batch at the same time.
        list(pool.map(lambda _: router.logits(texts), range(callers)))
        print(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
