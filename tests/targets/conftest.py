"""What the tests of foreign runtimes share: one artifact, 1,000 texts, and Python's answers to them.

They run by `make test-targets`. `POINTSMAN_TARGET_ARTIFACT` names the artifact; the runtimes stand in
`.targets/`, each in a place of its own. A missing runtime skips its tests, and pytest's summary says so.
What was compared and measured is printed at the end; with `POINTSMAN_RECORD=1` it is recorded for the pages,
unless a test failed.
"""

import json
import os
import random
from pathlib import Path

import pytest
from benchmarks.figures import record
from tests.targets.comparing import FIGURES, ROOT

from pointsman.artifact.store import Artifact
from pointsman.bench.environment import Environment, capture_environment
from pointsman.decision import Decision
from pointsman.deploy.package.build import build_package
from pointsman.deploy.package.catalogue import target_named
from pointsman.runtime.router import Router

COUNT = 1000
ENVIRONMENT = pytest.StashKey[Environment]()

# `make test` needs no foreign runtime, so these tests are collected only when they are asked for.
collect_ignore_glob = [] if os.environ.get("POINTSMAN_TEST_TARGETS") else ["test_*.py"]


def pytest_sessionstart(session: pytest.Session):
    session.config.stash[ENVIRONMENT] = capture_environment()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int):
    for name, figures in sorted(FIGURES.items()):
        # The tests run in any order; a table has one.
        figures.sort(key=lambda figure: figure.what)
        for figure in figures:
            print(f"\n{figure.what}: {figure.shown()}{figure.aim and f' (aim: {figure.aim})'}", end="")
        if os.environ.get("POINTSMAN_RECORD") and exitstatus == 0:
            record(name, "make test-targets RECORD=1", figures, session.config.stash[ENVIRONMENT])


@pytest.fixture(scope="session")
def artifact() -> Artifact:
    place = os.environ.get("POINTSMAN_TARGET_ARTIFACT", str(ROOT / "demo" / "router"))
    return Artifact.open(Path(place))


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """The project's own queries, then edits of them, until there are 1,000 different ones."""
    sources = [ROOT / "src/pointsman/datasets/queries.jsonl", *sorted(ROOT.glob("recipes/everyday*.jsonl"))]
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
