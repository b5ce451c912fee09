"""Running models of known truth, and the commands of the chain."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.support.fake_models import Models, fake_models, log_of

from pointsman.cli.__main__ import main

collect_ignore_glob = [] if find_spec("openai") and find_spec("sklearn") else ["test_*.py"]


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The three models; the working directory has `gateway.toml` and `log.jsonl` with 30 queries."""
    monkeypatch.chdir(tmp_path)
    with fake_models() as running:
        Path("gateway.toml").write_text(running.config())
        write_log(log_of(30))
        yield running


def write_log(queries: list[str], **columns: object) -> None:
    rows = [{"query": query, **columns} for query in queries]
    Path("log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def collect() -> Callable[..., int]:
    """`pointsman collect` of the log, with more words."""

    def run(*words: str, agreed: bool = True) -> int:
        common = ["log.jsonl", "--config", "gateway.toml", "--output", "work"]
        return main(["collect", *common, *(["--yes"] if agreed else []), *words])

    return run


@pytest.fixture
def judge(models: Models) -> Callable[..., int]:
    """`pointsman judge` by the judge, with more words."""

    def run(*words: str) -> int:
        return main(["judge", "work", *models.judging(), "--yes", *words])

    return run


def rows() -> list[dict]:
    """The rows that `judge` wrote."""
    return [json.loads(line) for line in Path("work/judged.jsonl").read_text().splitlines()]
