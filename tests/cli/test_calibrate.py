import argparse
import json

import pytest
from tests.support.keyword_artifact import build_keyword_artifact

from pointsman.artifact.store import Artifact
from pointsman.cli import calibrate
from pointsman.errors import DataError, OutputExistsError, SettingsError
from pointsman.runtime.router import Router

pytest.importorskip("onnx")

ROWS = [("hello", "local"), ("play a", "local"), ("thanks", "local"), ("analyze", "cloud"), ("plan", "cloud")]


def run(*words):
    parser = argparse.ArgumentParser()
    calibrate.add_arguments(parser)
    return calibrate.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def artifact(tmp_path):
    return build_keyword_artifact(tmp_path / "artifact").path


@pytest.fixture
def labelled(tmp_path):
    path = tmp_path / "held-out.csv"
    path.write_text("query,label\n" + "".join(f"{q},{label}\n" for q, label in ROWS * 8), encoding="utf-8")
    return path


def test_a_calibration_and_a_threshold_make_a_new_artifact(artifact, labelled, tmp_path, capsys):
    assert run(artifact, labelled, "--share", 0.4, "--output", tmp_path / "new", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    found = Artifact.open(tmp_path / "new")
    found.verify()
    assert (told["method"], told["rows"], told["share"]) == ("platt", 40, 0.4)
    assert found.manifest.calibration.n == 40
    assert found.manifest.policy.cloud_threshold == told["cloud_threshold"]
    assert found.manifest.provenance["curve"]["queries"] == 40
    assert Artifact.open(artifact).manifest.calibration is None
    assert Router.open(found).route("analyze").label == "cloud"


def test_a_temperature_leaves_the_middle(artifact, labelled, tmp_path, capsys):
    run(artifact, labelled, "--method", "temperature", "--output", tmp_path / "new")
    manifest = Artifact.open(tmp_path / "new").manifest
    assert manifest.calibration.b == 0.0
    assert manifest.provenance["curve"]["data_sha256"] == manifest.calibration.data_sha256
    assert "method: temperature" in capsys.readouterr().out


def test_a_share_needs_no_labels(artifact, tmp_path):
    queries = tmp_path / "queries.jsonl"
    queries.write_text("".join(json.dumps({"query": q}) + "\n" for q, _ in ROWS * 4), encoding="utf-8")
    run(artifact, queries, "--method", "none", "--share", 0.2, "--output", tmp_path / "new")
    assert Artifact.open(tmp_path / "new").manifest.calibration is None
    router = Router.open(tmp_path / "new")
    assert (
        sum(d.p_cloud >= router.policy.cloud_threshold for d in router.route_many([q for q, _ in ROWS])) == 1
    )


def test_the_curve_alone_leaves_the_artifact_what_it_is(artifact, labelled, tmp_path):
    run(artifact, labelled, "--method", "none", "--output", tmp_path / "new")
    before, after = Artifact.open(artifact).manifest, Artifact.open(tmp_path / "new").manifest
    assert (before.id, before.calibration, before.policy) == (after.id, after.calibration, after.policy)
    points = after.provenance["curve"]["points"]
    assert points[0]["quality"] < points[-1]["quality"] == 1.0


def test_labels_are_needed_for_a_fit(artifact, tmp_path):
    queries = tmp_path / "queries.jsonl"
    queries.write_text('{"query": "hello"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"queries\.jsonl: no column 'label'"):
        run(artifact, queries, "--output", tmp_path / "new")


@pytest.mark.parametrize(
    "words",
    [
        ["--share", "0.2"],
        ["--recipe", "r.toml", "--output", "x"],
    ],
)
def test_what_does_not_fit_together_is_refused(artifact, labelled, words):
    with pytest.raises(SettingsError):
        run(artifact, labelled, *words)


def test_nothing_is_overwritten(artifact, labelled):
    with pytest.raises(OutputExistsError):
        run(artifact, labelled, "--output", artifact)


def test_bad_rows_are_told(artifact, labelled, tmp_path, capsys):
    labelled.write_text(labelled.read_text(encoding="utf-8") + "who,edge\n", encoding="utf-8")
    run(artifact, labelled, "--output", tmp_path / "new")
    told = capsys.readouterr().err
    assert "held-out.csv:42: label" in told and "1 bad rows" in told


@pytest.mark.parametrize("flags", [[], ["--method", "none", "--share", 0.2], ["--share", 0.2]])
def test_too_few_rows_are_refused_and_few_are_said(artifact, labelled, tmp_path, capsys, flags):
    run(artifact, labelled, *flags, "--output", tmp_path / "new")
    assert "warning: 40 rows to calibrate on are few" in capsys.readouterr().err
    labelled.write_text("".join(labelled.read_text(encoding="utf-8").splitlines(keepends=True)[:20]))
    with pytest.raises(DataError, match="at least 20 usable rows to calibrate on, found 19"):
        run(artifact, labelled, *flags, "--output", tmp_path / "other")


def test_one_label_is_refused(artifact, labelled, tmp_path):
    labelled.write_text(labelled.read_text(encoding="utf-8").replace(",local", ",cloud"), encoding="utf-8")
    with pytest.raises(DataError, match="rows of both labels"):
        run(artifact, labelled, "--output", tmp_path / "new")


@pytest.mark.parametrize("wish", [("--quality", 0.9), ("--share", 0.3), ("--budget", 0.4)])
def test_a_row_that_the_judge_weighed_counts_as_that_many(artifact, tmp_path, capsys, wish):
    """The share of the log, not that of the sample; another file's column of this name weighs nothing."""
    told = {}
    for name, judged in (("weighed", True), ("repeated", True), ("foreign", False)):
        rows = []
        for at, (query, label) in enumerate(ROWS * 8):
            row = {"query": query, "weak_score": float(label == "local"), "strong_score": 1.0}
            copies = at % 5 + 1
            weight = 1.0 if name == "repeated" else float(copies)
            row |= {"weight": weight, **({"judgement": {"by": "judge"}} if judged else {})}
            rows += [row] * (copies if name == "repeated" else 1)
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        words = ["--method", "none", *wish, "--output", tmp_path / name, "--json"]
        assert run(artifact, path, *words) == 0
        told[name] = json.loads(capsys.readouterr().out)
        curve = Artifact.open(tmp_path / name).manifest.provenance["curve"]["points"]
        figures = [told[name].get(figure, 0.0) for figure in ("cloud_threshold", "share", "quality")]
        told[name] = [*figures, curve]
    assert told["weighed"][:3] == pytest.approx(told["repeated"][:3])
    for one, other in zip(told["weighed"][3], told["repeated"][3], strict=True):
        assert one == pytest.approx(other)
    assert told["foreign"][3] != told["weighed"][3]
