"""D: what was altered is refused, and the policy that is told is the policy that is served."""

import asyncio
import json
import math
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tests.reliability.suite import check
from tests.support.harness.bench import Bench
from tests.support.harness.measure import Finding, Tally

from pointsman.artifact.address import shipped_artifact
from pointsman.artifact.layout import MANIFEST
from pointsman.artifact.manifest import Manifest
from pointsman.artifact.registry import Registry
from pointsman.artifact.store import Artifact
from pointsman.convert.checkpoint_files import read_json as read_checkpoint_json
from pointsman.datasets.rows import COLUMNS, json_rows
from pointsman.errors import DataError, ManifestError, PointsmanError
from pointsman.evaluation.threshold import ThresholdGoal, choose
from pointsman.policy import Policy
from pointsman.serve.edge import large_json
from pointsman.serve.edge import strict_json as edge_json


@check(
    "D1",
    "A manifest of which one bit or one digit was altered is refused",
    tests="tests/artifact/test_manifest.py::test_every_flipped_bit_and_every_edited_digit_is_refused",
)
async def altered_manifests(bench: Bench) -> Finding:
    """Bits (all of them, in a full run) and digits of the shipped router's manifest, one at a time."""
    text = (shipped_artifact() / MANIFEST).read_bytes()
    Manifest.from_json(text)
    edits = [(at, byte ^ (1 << bit)) for at, byte in enumerate(text) for bit in range(8)]
    digits = [(at, digit) for at, byte in enumerate(text) if 48 <= byte < 58 for digit in range(48, 58)]
    edits += [(at, digit) for at, digit in digits if text[at] != digit]
    n = bench.pick(1_000, 10_000, len(edits))
    tally = Tally("altered manifests that were read")
    for at, byte in bench.random("D1").sample(edits, n):
        try:
            Manifest.from_json(text[:at] + bytes([byte]) + text[at + 1 :])
        except ManifestError:
            tally.case(False)
        else:
            tally.case(True)
    return Finding(tally.measures(), (bench.seed,))


@check(
    "D2",
    "The decision is monotone in p_cloud, and a share that is told is the share that is served",
    tests="tests/evaluation/test_threshold.py::test_the_share_that_is_told_is_the_share_that_is_served",
)
async def one_policy(bench: Bench) -> Finding:
    """Policies, shares asked and probabilities drawn at random, many of them equal or next to a threshold."""
    n = bench.pick(300, 5_000, 100_000)
    draw = bench.random("D2")
    tally = Tally("decisions that turned back", "shares told that were not served")
    for _ in range(n):
        safe = draw.choice(("local", "cloud"))
        policy = Policy(draw.random(), draw.choice((0.0, 0.7, draw.random())), safe)
        near = [policy.effective_threshold, policy.cloud_threshold, 1.0 - policy.confidence_threshold]
        near += [math.nextafter(p, toward) for p in near for toward in (0.0, 1.0)]
        scores = sorted(min(max(p, 0.0), 1.0) for p in (*near, *(draw.random() for _ in range(20))))
        targets = [policy.decide(p).target for p in scores]
        goal = ThresholdGoal(share=draw.random(), confidence_threshold=draw.choice((None, 0.7)))
        found = choose(goal, np.array(scores), None, "", policy)
        served = sum(found.policy.decide(p).target == "cloud" for p in scores) / len(scores)
        tally.case("local" in targets[targets.count("local") :], found.share != served)
    return Finding(tally.measures(), (bench.seed,))


_PROMOTE = """
import sys
from pathlib import Path
from pointsman.artifact.registry import Registry
while True:
    Registry(Path(sys.argv[1])).promote(sys.argv[2])
"""


@check(
    "D3",
    "Many promotions at once, killed at any time, leave the alias that the history says",
    tests="tests/artifact/test_registry.py::test_alias_and_history_agree_when_many_promote_and_are_killed",
)
async def promotions(bench: Bench) -> Finding:
    """Four processes that promote two versions in turn, and are killed after some promotions and a moment."""
    n = bench.pick(2, 20, 200)
    folder = Path(tempfile.mkdtemp(prefix="pointsman-harness-"))
    registry, draw, tally = Registry(folder / "registry"), bench.random("D3"), Tally("apart", "not verified")
    for version in ("a", "b"):
        registry.publish(Artifact.open(shipped_artifact()), version)
    for _ in range(n):
        before = len(registry.history())
        command = [sys.executable, "-c", _PROMOTE, str(registry.path)]
        workers = [subprocess.Popen([*command, version]) for version in "abab"]
        while len(registry.history()) < before + 8:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05 * draw.random())
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.wait()
        last = [event for event in registry.history() if event["event"] == "promote"][-1]
        # To verify looks at the alias first: a promotion that was killed halfway counts as made.
        verified = registry.verify() == ["a", "b"]
        tally.case(registry.aliases() != {"stable": last["version"]}, not verified)
    return Finding(tally.measures(), (bench.seed,))


def _spoiled(text: str, draw: random.Random) -> bytes:
    """A JSON object's text, spoiled in one way."""
    deep = draw.randint(201, 5_000)
    values = (
        "NaN",
        "-Infinity",
        "1e400",
        "9" * 5_000,
        '"\\ud800"',
        "[" * deep + "]" * deep,
        "{}{}",
        "'x'",
        "01",
    )
    ways = (
        lambda: f'{{"extra": 1, "extra": 1, {text[1:]}',
        lambda: f'{text[:-1]}, "extra": {draw.choice(values)}}}',
        lambda: text[: draw.randrange(len(text))],
        lambda: text + draw.choice(("}", " x", "\0")),
    )
    data = draw.choice(ways)().encode("utf-8", "surrogatepass")
    return data if draw.random() < 0.8 else data.replace(b'"', b'"\xff', 1)


@check(
    "D4", "Invalid JSON is refused by every part that reads JSON", tests="tests/artifact/test_strict_json.py"
)
async def strict_json(bench: Bench) -> Finding:
    """Objects with a key twice, NaN, 1e400, half a surrogate pair, a depth of thousands, or cut."""
    n = bench.pick(300, 5_000, 100_000)
    draw, read = bench.random("D4"), Tally("read nevertheless", "errors that are not ours")
    folder = Path(tempfile.mkdtemp(prefix="pointsman-harness-"))
    text = json.dumps({"schema": 1, "query": "plan", "label": "local", "a": {"b": [1.5, True, None]}})

    def of_a_file(reader: Callable[[Path], object]) -> Callable[[bytes], object]:
        def work(data: bytes) -> object:
            (folder / "x.json").write_bytes(data)
            return reader(folder / "x.json")

        return work

    def row(data: bytes) -> object:
        rows, bad = json_rows([(1, data)], "x.jsonl", COLUMNS)
        if bad:
            raise DataError(bad[0].reason)
        return rows

    readers: list[Callable[[bytes], object]] = [
        edge_json.parse,
        large_json.parse,
        row,
        of_a_file(read_checkpoint_json),
    ]
    for reader in readers:
        reader(text.encode())
        for _ in range(n // len(readers)):
            try:
                reader(_spoiled(text, draw))
            except PointsmanError:
                read.case(False, False)
            except Exception:
                read.case(False, True)
            else:
                read.case(True, False)
    return Finding(read.measures(), (bench.seed,))
