"""What the tests of foreign runtimes share: one artifact, 1,000 texts, and Python's answers to them.

They run by `make test-targets`. `POINTSMAN_TARGET_ARTIFACT` names the artifact; the runtimes stand in
`.targets/`, each in a place of its own. A missing runtime skips its tests, and pytest's summary says so.
"""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from pointsman.artifact.store import Artifact
from pointsman.decision import Decision
from pointsman.deploy.package.build import build_package
from pointsman.deploy.package.catalogue import target_named
from pointsman.runtime.router import Router

ROOT = Path(__file__).parents[2]
RUNTIMES = Path(os.environ.get("POINTSMAN_TARGET_RUNTIMES", ROOT / ".targets"))
COUNT = 1000

# `make test` needs no foreign runtime, so these tests are collected only when they are asked for.
collect_ignore_glob = [] if os.environ.get("POINTSMAN_TEST_TARGETS") else ["test_*.py"]
INT8_WITHIN = 1e-2
"""How far one int8 file may differ between runtimes: a rounding that falls otherwise moves a whole step."""


@pytest.fixture(scope="session")
def artifact() -> Artifact:
    place = os.environ.get("POINTSMAN_TARGET_ARTIFACT", str(ROOT / "demo" / "router"))
    return Artifact.open(Path(place))


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """The project's own queries, then edits of them, until there are 1,000 different ones."""
    sources = [ROOT / "src/pointsman/evaluation/queries.jsonl", *sorted(ROOT.glob("recipes/everyday*.jsonl"))]
    lines = [line for source in sources for line in source.read_text(encoding="utf-8").splitlines()]
    found = list(dict.fromkeys(text for line in lines if (text := json.loads(line)["query"]).strip()))
    originals, random_ = tuple(found), random.Random(5)
    while len(found) < COUNT:
        words = random_.choice(originals).split()
        edit = random_.choice(
            (str.upper, str.title, lambda text: text + " please!", lambda text: "so, " + text)
        )
        edited = edit(" ".join(words))
        if edited not in found:
            found.append(edited)
    return found[:COUNT]


@pytest.fixture(scope="session")
def plain(artifact: Artifact, texts: list[str]) -> list[Decision]:
    return Router.open(artifact.path, variant="plain").route_many(texts)


@pytest.fixture(scope="session")
def int8(artifact: Artifact, texts: list[str]) -> list[Decision]:
    return Router.open(artifact.path, variant="int8").route_many(texts)


@pytest.fixture(scope="session")
def packaged(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory):
    """Package a target once; returns a function from its name to the folder."""
    root, done = tmp_path_factory.mktemp("targets"), {}

    def package(name: str) -> Path:
        if name not in done:
            build_package(target_named(name), artifact, root / name)
            done[name] = root / name
        return done[name]

    return package


def runtime(*parts: str) -> Path:
    """A place in the runtimes' folder; skips the test where it is not there."""
    place = RUNTIMES.joinpath(*parts)
    if not place.exists():
        pytest.skip(f"{place} is not installed; run `make test-targets`")
    return place


def compare(texts: list[str], expected: list[Decision], found: list[dict], within: float) -> dict[str, float]:
    """Assert equal labels, targets and token counts and close probabilities; returns the figures."""
    assert len(found) == len(expected)
    differing = [
        (text, one.label, other["label"])
        for text, one, other in zip(texts, expected, found, strict=True)
        if (one.label, one.target, one.tokens) != (other["label"], other["target"], other["tokens"])
    ]
    worst = max(abs(one.p_cloud - other["pCloud"]) for one, other in zip(expected, found, strict=True))
    print(f"\nn {len(found)}, differing {len(differing)}, largest difference of p_cloud {worst:.2e}")
    assert not differing, differing[:5]
    assert worst <= within
    return {"worst": worst}


def peer(name, script, *arguments):
    """Run a script in a peer's environment; returns what it printed."""
    python = runtime(name, "bin", "python")
    done = subprocess.run(
        [python, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()
