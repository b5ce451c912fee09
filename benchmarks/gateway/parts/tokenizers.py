"""F5: tokenizer files that are mangled or made to hurt, each read in a process that may die of it."""

import asyncio
import json
import sys
from collections import Counter

from benchmarks.gateway.bench import Bench
from benchmarks.gateway.measure import Finding, check, none, noted
from benchmarks.gateway.parts.peers import ROOT

HUNG_S = 20.0


@check(
    "F5",
    "A mangled tokenizer file is refused or harmless, and no panic of the library gets past us",
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
        *(sys.executable, "-m", "benchmarks.gateway.mangled", str(seed), str(first), str(last)),
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
