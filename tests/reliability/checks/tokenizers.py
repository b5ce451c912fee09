"""F5 and F6: tokenizer files that are mangled or made to hurt, and panics in the middle of the work."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator

from tests.reliability.suite import check
from tests.reliability.tokenizer_mutations import mutated
from tests.support.harness.bench import Bench
from tests.support.harness.measure import Finding, every, none, noted
from tests.support.places import ROOT
from tokenizers import Tokenizer

from pointsman.serve.inference.batcher import Batcher, BatchFailedError

HUNG_S = 20.0
PANICS = 0
"""The crafted file that is taken, and panics at the first text."""


@check(
    "F5",
    "A damaged tokenizer file is refused or harmless, and no panic of the library reaches the caller",
    reference="tokenizers: open pull requests for panics, none in its tests",
    tests="tests/runtime/test_tokenize.py",
)
async def mangled_files(bench: Bench) -> Finding:
    """Crafted ones first, then values replaced or gone at random; five texts are read with what is taken."""
    n = bench.pick(150, 2_000, 20_000)
    outcomes: Counter[str] = Counter()
    first = 0
    while first < n:
        first = await _read(bench.seed, first, n, outcomes)
    ours = sum(outcomes[name] for name in ("read", "refused", "unread", "died", "hung"))
    if ours < n or outcomes["died"] or outcomes["hung"]:
        print(f"      {dict(outcomes)}")
    return Finding(
        (
            none("exceptions that are not ours", n - ours, n),
            none("processes that died", outcomes["died"], n),
            none("processes that hung", outcomes["hung"], n),
            noted("refused", outcomes["refused"] + outcomes["unread"], "", n),
        ),
        (bench.seed,),
    )


async def _read(seed: int, first: int, last: int, outcomes: Counter[str]) -> int:
    """Read files in one process, until it ends; the number of the next one."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.reliability.tokenizer_mutations", str(seed), str(first), str(last)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert process.stdout is not None
    while True:
        try:
            line = await asyncio.wait_for(process.stdout.readline(), HUNG_S)
        except TimeoutError:
            process.kill()
            outcomes["hung"] += 1
            await process.wait()
            return first + 1
        if not line:
            died = await process.wait() != 0
            outcomes["died"] += died
            return first + died
        outcomes[json.loads(line)["outcome"]] += 1
        first += 1


@check(
    "F6",
    "A panic in the model's thread fails its own batch, and the next one is answered",
    reference="a thread guarded by `except Exception` dies of it",
    tests="tests/serve/test_classifier_failure.py",
)
async def panics(bench: Bench) -> Finding:
    """Real panics of the tokenizer library in the gateway's batcher, one before each good job."""
    n = bench.pick(50, 1_000, 1_000)
    broken = Tokenizer.from_buffer(mutated(PANICS, bench.seed))

    def run(key: str, texts: list[str]) -> list[str]:
        return [str(broken.encode(text).ids) for text in texts] if key == "bad" else texts

    batcher: Batcher[str, str] = Batcher(run, cost=len, max_batch=8, max_cost=10**6, max_queue=64)
    batcher.start()
    panicked = good = 0
    with _no_stderr():
        for index in range(n):
            try:
                await batcher.submit("bad", [f"text {index}"], time.monotonic() + 10)
            except BatchFailedError:
                panicked += 1
            good += await batcher.submit("good", [f"text {index}"], time.monotonic() + 10) == [
                f"text {index}"
            ]
    is_alive = batcher.is_alive
    batcher.stop()
    return Finding(
        (
            every("panics told to the request that met them", panicked, n),
            every("the next job answered", good, n),
            every("the thread is alive", is_alive, 1),
        )
    )


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """The library writes of every panic past Python's own standard error."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
