"""The judging side of training: a checkpoint as a scorer, the baselines, the suite."""

import json

import numpy as np
import pytest

from pointsman.datasets.duplicates import near_duplicate_key
from pointsman.datasets.reading import read_queries
from pointsman.datasets.rows import COLUMNS
from pointsman.errors import CheckpointError, DataError
from pointsman.evaluation.metrics import roc_auc
from pointsman.train.baselines import (
    classifier_scores,
    length_scores,
    random_scores,
    ridge_scores,
    subject_scores,
    tfidf_scores,
)
from pointsman.train.data import Example, Measured
from pointsman.train.scoring import CheckpointScorer
from pointsman.train.suite import (
    GUIDE,
    Slice,
    suite_slices,
    validation_dataset,
    without_known,
)
from pointsman.train.teacher import Reading

pytestmark = pytest.mark.torch


@pytest.fixture
def router_checkpoint(tiny_base, tmp_path):
    import shutil

    directory = tmp_path / "router"
    shutil.copytree(tiny_base, directory)
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    config |= {"id2label": {"0": "local", "1": "cloud"}, "label2id": {"local": 0, "cloud": 1}}
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return directory


def test_a_checkpoint_scores_texts_in_order(router_checkpoint, queries):
    from pointsman.train.scoring import CheckpointScorer

    scorer = CheckpointScorer(router_checkpoint)
    texts = [query for query, _ in queries(40)]
    together = scorer(texts)
    alone = np.array([scorer([text])[0] for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)


def test_its_calibration_counts(router_checkpoint):
    from pointsman.checkpoint.calibration import CALIBRATION
    from pointsman.train.scoring import CheckpointScorer

    plain = CheckpointScorer(router_checkpoint)(["hello"])
    kept = {"method": "platt", "a": 1.0, "b": 2.0, "data_sha256": "d", "n": 1, "curve": {}}
    (router_checkpoint / CALIBRATION).write_text(json.dumps(kept), encoding="utf-8")
    shifted = CheckpointScorer(router_checkpoint)(["hello"])
    assert np.log(shifted / (1 - shifted)) == pytest.approx(np.log(plain / (1 - plain)) + 2.0, abs=1e-6)
    (router_checkpoint / CALIBRATION).write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="calibration"):
        CheckpointScorer(router_checkpoint)


def test_a_calibration_is_kept_and_its_curve_measured_again(router_checkpoint, queries, tmp_path, capsys):
    from pointsman.checkpoint.calibration import CALIBRATION
    from pointsman.cli.__main__ import main

    rows = [json.dumps({"query": query, "label": label}) for query, label in queries(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    command = ["calibrate", str(router_checkpoint), str(tmp_path / "rows.jsonl"), "--method", "none"]
    assert main(command) != 0
    assert "no calibration to keep" in capsys.readouterr().err
    kept = {"method": "platt", "a": 1.5, "b": 0.25, "data_sha256": "d", "n": 1}
    (router_checkpoint / CALIBRATION).write_text(json.dumps(kept), encoding="utf-8")
    assert main(command) == 0
    found = json.loads((router_checkpoint / CALIBRATION).read_text(encoding="utf-8"))
    assert found["curve"]["queries"] == 40
    assert {key: found[key] for key in kept} == kept


def test_no_checkpoint_is_an_error(tmp_path):
    from pointsman.train.scoring import CheckpointScorer

    with pytest.raises(CheckpointError):
        CheckpointScorer(tmp_path)


def test_words_separate_what_they_separate(queries):
    train = [Example(q, float(label == "cloud"), "s", True) for q, label in queries(200)]
    held_out = queries(60, seed=1)
    found = tfidf_scores(train, [q for q, _ in held_out])
    is_cloud = np.array([label == "cloud" for _, label in held_out])
    assert roc_auc(is_cloud, found) >= 0.99


def test_a_ridge_and_a_table_learn_the_gain(queries):
    rows = [
        Measured(q, "f", f"subject {label}", ("", ""), 0.5, 1.0 if label == "cloud" else 0.4)
        for q, label in queries(200)
    ]
    held_out = queries(60, seed=1)
    texts = [q for q, _ in held_out]
    is_cloud = np.array([label == "cloud" for _, label in held_out])
    assert roc_auc(is_cloud, ridge_scores(rows, texts)) >= 0.99
    subjects = {q: f"subject {label}" for q, label in held_out[1:]}
    told = subject_scores(rows, texts, subjects)
    assert told[1:] == pytest.approx(np.where(is_cloud[1:], 0.5, -0.1))
    assert told[0] == pytest.approx(np.mean([row.gain for row in rows])), "a subject that is not known"


def test_shares_between_the_labels_are_weights():
    train = [Example("alpha word", 0.25, "s", True), Example("alpha term", 0.25, "s", True)] * 4
    assert tfidf_scores(train, ["alpha"])[0] == pytest.approx(0.25, abs=0.05)


def test_a_classifier_of_another_kind_is_asked_once_a_text(router_checkpoint, queries, tmp_path):
    texts = [text for text, _ in queries(20)]
    asked = [*texts, texts[0]]
    found = classifier_scores(router_checkpoint, asked, Reading(tmp_path, 32, len))
    assert found[0] == found[-1]
    assert found == pytest.approx(CheckpointScorer(router_checkpoint, 32)(asked), abs=0.02)
    assert len(list(tmp_path.glob("opinions-*/part-*.npz"))) == 1


def test_chance_is_seeded_and_length_is_length():
    assert (random_scores(["a", "b"], 1) == random_scores(["c", "d"], 1)).all()
    assert length_scores(["", "abc"]).tolist() == [0.0, 3.0]


def test_near_duplicates_go_but_the_guide_stays():
    slices = [Slice("s", "local", ("Hello!", "bye")), Slice(GUIDE, "local", ("Hello there!",))]
    kept, dropped = without_known(slices, {near_duplicate_key("hello"), near_duplicate_key("hello there")})
    assert [part.queries for part in kept] == [("bye",), ("Hello there!",)]
    assert dropped == 1


RECIPE = """
name = "r"
seed = 1
everyday_validation_share = 0.5
[[outcomes]]
files = "x.jsonl"
validation_share = 0.3
[[rules]]
files = "own.jsonl"
own = true
"""


def test_what_a_recipe_holds_out_is_what_training_held_out(tmp_path):
    from pointsman.train.recipe_loader import load_recipe
    from pointsman.train.split import load_split

    rows = [{"query": f"question number {i}", "weak_score": i % 2, "strong_score": 1} for i in range(100)]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    own = [
        {"query": f"{word} {i}", "label": label, "source": "a"}
        for word, label in (("hi", "local"), ("plan", "cloud"))
        for i in range(20)
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(r) + "\n" for r in own), encoding="utf-8")
    (tmp_path / "r.toml").write_text(RECIPE, encoding="utf-8")
    recipe = load_recipe(tmp_path / "r.toml")
    held_out = {e.query: e.p_cloud for e in load_split(recipe, tmp_path).validation}
    found = validation_dataset(tmp_path / "r.toml", tmp_path)
    assert set(found.queries) == set(held_out)
    assert [held_out[q] >= 0.5 for q in found.queries] == found.is_cloud.tolist()
    assert {"x", "rules"} == set(found.group.tolist())
    ruled = found.group == "rules"
    sums = [found.weight[kind].sum() for kind in (ruled, ~ruled)]
    assert sums[0] / sums[1] == pytest.approx(np.sqrt(ruled.sum() / (~ruled).sum())), (
        "each by the root of its size"
    )
    assert [(s.name, s.label) for s in suite_slices(recipe, tmp_path)] == [("a", "local"), ("a", "cloud")]


def test_queries_without_labels(tmp_path):
    path = tmp_path / "q.csv"
    path.write_text("query\nhello\n\n bye \n", encoding="utf-8")
    assert read_queries([path], COLUMNS)[0] == ("hello", "bye")
    path.write_text("text\nhello\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column 'query'; found \\['text'\\]"):
        read_queries([path], COLUMNS)
