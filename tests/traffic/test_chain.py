"""From a log to scores, against models whose truth is known."""

import json
from pathlib import Path

import pytest
from tests.support.fake_models import fake_models, is_hard, log_of

from pointsman.cli.__main__ import main


@pytest.fixture
def models():
    with fake_models() as running:
        yield running


def write_log(path: Path, queries: list[str]) -> Path:
    path.write_text("".join(json.dumps({"query": q}) + "\n" for q in queries), encoding="utf-8")
    return path


def test_a_log_becomes_rows_with_scores(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = log_of(30)
    write_log(tmp_path / "log.jsonl", log)
    Path("gateway.toml").write_text(models.config())
    assert main(["collect", "log.jsonl", "--config", "gateway.toml", "--output", "work", "--yes"]) == 0
    assert main(["judge", "work", *models.judging(), "--yes"]) == 0
    rows = [json.loads(line) for line in Path("work/judged.jsonl").read_text().splitlines()]
    assert [row["query"] for row in rows] == log
    for row in rows:
        assert (row["weak_score"], row["strong_score"]) == ((0, 1) if is_hard(row["query"]) else (1, 1))
    asked = len(models.local.seen), len(models.cloud.seen), len(models.judge.seen)
    assert asked == (30, 30, 60)
    assert main(["collect", "log.jsonl", "--config", "gateway.toml", "--output", "work"]) == 0
    assert main(["judge", "work", *models.judging()]) == 0
    assert (len(models.local.seen), len(models.cloud.seen), len(models.judge.seen)) == asked
