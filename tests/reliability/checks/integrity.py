"""D: what was altered is refused, and the policy that is told is the policy that is served."""

import math

import numpy as np
from tests.reliability.suite import check
from tests.support.harness.bench import Bench
from tests.support.harness.measure import Finding, Tally

from pointsman.artifact.address import shipped_artifact
from pointsman.artifact.layout import MANIFEST
from pointsman.artifact.manifest import Manifest
from pointsman.errors import ManifestError
from pointsman.evaluation.threshold import ThresholdGoal, choose
from pointsman.policy import Policy


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
