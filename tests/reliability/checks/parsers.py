"""G4: our own parsers against whatever bytes come: drawn at random, and guided by coverage in atheris."""

import asyncio
import re

from tests.reliability.suite import check
from tests.support.harness.bench import Bench
from tests.support.harness.fronts import at_once
from tests.support.harness.measure import Finding, Measure, none
from tests.support.places import PEERS, ROOT
from tests.support.process import environment_without_settings, pin_nowhere

from pointsman.serve.upstream.sse import EventRelay

PYTHON = PEERS / "atheris" / "bin" / "python"
PARSERS = {
    "json": "JSON bodies",
    "sse": "cut streams",
    "manifest": "manifests",
    "configuration": "configurations",
    "headers": "header lists",
}
"""Those of `fuzz_targets.py`, and what each of them reads."""
_RUNS = re.compile(rb"stat::number_of_executed_units:\s*(\d+)")


@check(
    "G4",
    "For any bytes the parsers return a valid value or one of the package's own errors",
    tests="tests/serve/test_properties.py",
)
async def parsers(bench: Bench) -> Finding:
    """Random streams cut at random places; then every parser, as long as the size allows, two at a time."""
    measures = splitter(bench)
    if not PYTHON.exists():
        return Finding(tuple(measures), (bench.seed,), "atheris is not installed here (`nox -s peers`).")
    seconds = bench.pick(4, 60, 600)

    async def one(index: int) -> Measure:
        return await guided(list(PARSERS)[index], seconds, bench.seed)

    measures += await at_once(one, range(len(PARSERS)), 2)
    remark = f"Guided by coverage for {seconds} s each; what reached new code is kept for the next run."
    return Finding(tuple(measures), (bench.seed,), remark)


def splitter(bench: Bench) -> list[Measure]:
    """Where a stream's events end does not depend on how it came in pieces."""
    n = bench.pick(2_000, 20_000, 100_000)
    draw = bench.random("G4")
    changed = halves = 0
    alphabet = [b"data: x", b"\n", b"\r", b"\r\n", b"\n\n", b": c", b"\xc3\xbc", b"{", b" ", b"\r\n\r\n"]
    for _ in range(n):
        body = b"".join(draw.choices(alphabet, k=draw.randint(1, 30)))
        places = sorted(draw.sample(range(len(body) + 1), min(len(body) + 1, draw.randint(0, 8))))
        relay, out = EventRelay(), b""
        for a, b in zip([0, *places], [*places, len(body)], strict=True):
            out += relay.feed(body[a:b])
            halves += bool(out) and not out.endswith((b"\n\n", b"\r\r", b"\n\r", b"\n\r\n"))
        changed += out + relay.rest() != body
    return [none("streams changed by how they are cut", changed, n), none("half events passed on", halves, n)]


async def guided(target: str, seconds: int, seed: int) -> Measure:
    """One parser in atheris; a finding ends its run, and its bytes stay beside the corpus."""
    corpus = PEERS / "corpus" / target
    process = await asyncio.create_subprocess_exec(
        *(
            str(PYTHON),
            "-m",
            "tests.reliability.guided_fuzzing",
            target,
            str(corpus),
            str(seconds),
            str(seed % 2**31),
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
        env=environment_without_settings({"PYTHONPATH": str(ROOT / "src")}),
        preexec_fn=pin_nowhere,
    )
    out, _ = await process.communicate()
    runs = _RUNS.search(out)
    if runs is None:
        raise RuntimeError(f"atheris, {target}: {out[-300:]!r}")
    if process.returncode:
        print(out[-3000:].decode(errors="replace"))
    return none(f"findings in {PARSERS[target]}", int(process.returncode != 0), int(runs[1]))
