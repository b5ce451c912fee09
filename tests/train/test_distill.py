"""The whole way from a recipe to a checkpoint, with the shipped teacher and a student of one block."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from pointsman.errors import CheckpointError, TrainingError
from pointsman.train import distill as module
from pointsman.train.batches import encode, pad_batch
from pointsman.train.distill import Distillation, distill
from pointsman.train.recipe import Recipe
from pointsman.train.recipe_loader import load_recipe
from pointsman.train.split import load_split
from pointsman.train.student import new_student
from pointsman.train.targets import Source, training_targets
from pointsman.train.teacher import Reading, embed, shipped_encoder
from pointsman.train.trainee import Trainee, fit_projection

pytestmark = [pytest.mark.torch, pytest.mark.slow]

RECIPE = """
name = "small"
seed = 2
everyday_validation_share = 0.2
[student]
depth = 1
max_tokens = 24
[schedule]
epochs = 1
batch_tokens = 256
evaluations = 2
[[outcomes]]
files = "routing/*.jsonl"
validation_share = 0.3
[[rules]]
files = "own.jsonl"
own = true
[[rules]]
files = "texts.jsonl.gz"
"""


@pytest.fixture
def data(tmp_path: Path, queries) -> Path:
    return written(tmp_path, queries)


@pytest.fixture(scope="module")
def first(tmp_path_factory, queries) -> tuple[Path, Path, list[str]]:
    """The data of one run, its checkpoint and what it said."""
    data, lines = written(tmp_path_factory.mktemp("first"), queries), []
    plan = Distillation(load_recipe(data / "recipe.toml"), data, data / "run")
    return data, distill(plan, threads=1, progress=lines.append), lines


def written(tmp_path: Path, queries) -> Path:
    (tmp_path / "routing").mkdir()
    rows = [
        {"query": text, "weak_score": 0.5, "strong_score": 1.0 if label == "cloud" else 0.5}
        for text, label in queries(60)
    ]
    lines = [json.dumps(row) for row in rows]
    lines[3] = '{"query": "no scores"}'
    (tmp_path / "routing" / "exam.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    own = [{"query": text, "label": label} for text, label in queries(20, seed=8)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(r) + "\n" for r in own), encoding="utf-8")
    plain = "".join(json.dumps({"query": f"It was the year {1900 + i}."}) + "\n" for i in range(20))
    (tmp_path / "texts.jsonl.gz").write_bytes(gzip.compress(plain.encode()))
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


def test_a_recipe_becomes_a_checkpoint_twice_the_same(first, tmp_path):
    data, first, lines = first
    recipe = load_recipe(data / "recipe.toml")
    assert any("exam.jsonl:4: expected label" in line for line in lines)
    assert {p.name for p in first.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
        "training.json",
    }
    config = json.loads((first / "config.json").read_text())
    assert config["id2label"] == {"0": "local", "1": "cloud"}
    assert config["model_type"] == "mobilebert"
    weights = load_file(first / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float16}
    assert weights["mobilebert.embeddings.word_embeddings.weight"][0].abs().max() == 0.0
    assert not any(name.startswith("projection") for name in weights)
    record = json.loads((first / "training.json").read_text())
    assert record["bad_rows"] == 1
    assert record["recipe"]["student"]["depth"] == 1
    assert len(record["history"]) >= 2
    assert (data / "run" / "curves.png").is_file()
    second = distill(Distillation(recipe, data, tmp_path / "b"), threads=1, progress=len)
    assert (second / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()


def test_any_classifier_can_be_the_teacher_and_a_run_keeps_its_own(data, tiny_base, tmp_path):
    lines: list[str] = []
    recipe = load_recipe(data / "recipe.toml")
    run = tmp_path / "t"
    distill(Distillation(recipe, data, run, teacher=tiny_base), threads=1, progress=lines.append)
    assert list((run / "cache").glob("opinions-*/part-*.npz"))
    with pytest.raises(TrainingError, match=r"other settings \(teacher, teacher_sha256\)"):
        distill(Distillation(recipe, data, run), threads=1, progress=len)


def test_a_shallow_student_goes_on_as_a_deeper_one(data, first, tmp_path):
    _, shallow, _ = first
    deeper = RECIPE.replace("depth = 1", "depth = 2")
    (data / "deeper.toml").write_text(deeper, encoding="utf-8")
    recipe = load_recipe(data / "deeper.toml")
    second = distill(Distillation(recipe, data, tmp_path / "b", base=str(shallow)), threads=1, progress=len)
    config = json.loads((second / "config.json").read_text())
    assert config["num_hidden_layers"] == 2
    assert str(tmp_path) not in json.dumps(config) and str(shallow.parent) not in json.dumps(config)
    weights = load_file(second / "model.safetensors")
    assert "mobilebert.encoder.layer.1.output.bottleneck.dense.weight" in weights
    assert not any("projection" in name for name in weights)
    record = json.loads((second / "training.json").read_text())
    assert record["base"]["name"] == "checkpoint"
    assert len(record["base"]["sha256"]) == 64
    assert record["teacher"] is None


LEVERS = """
[target]
gain = true
shrink = 0.5
experts = true
balance = true
[followups]
file = "phrases.jsonl"
count = 10
"""


def test_experts_teach_measured_rows_and_texts_without_a_label(data, tmp_path):
    phrases = [{"query": "go on", "kind": "continues"}, {"query": "bye", "kind": "closes"}]
    (data / "phrases.jsonl").write_text("".join(json.dumps(p) + "\n" for p in phrases), encoding="utf-8")
    text = RECIPE.replace("[schedule]", "earlier_turns = 2\n[loss]\nembedding = 0.0\n[schedule]") + LEVERS
    text = text.replace('files = "texts.jsonl.gz"', 'files = "texts.jsonl.gz"\nopinion = 1.0')
    (data / "experts.toml").write_text(text, encoding="utf-8")
    recipe = load_recipe(data / "experts.toml")
    split = load_split(recipe, data)
    source = Source(recipe, (shipped_encoder(),), None, tmp_path / "cache")
    targets = training_targets(split.train, source, len)
    assert targets.vectors is None
    assert not np.isnan(targets.p_cloud).any(), "a text without a label has the experts' opinion"
    assert targets.weights.mean() == pytest.approx(1.0)
    known = [e.query for e in split.train if not e.is_measured and not e.opinion]
    place = [e.query for e in split.train].index(known[0])
    assert targets.p_cloud[place] == pytest.approx(split.train[place].p_cloud), "a rule alone stays"
    checkpoint = distill(
        Distillation(recipe, data, tmp_path / "e", cache=tmp_path / "cache"), threads=1, progress=len
    )
    config = json.loads((checkpoint / "config.json").read_text())
    assert (config["earlier_turns"], config["last_turn_first"], config["dtype"]) == (2, True, "float32")


RICHER = "[loss]\nembedding = 1.0\nsubject = 0.5\nmeasured = 3.0\n[target]\nexperts = true\n"


def richer(data: Path) -> Recipe:
    """A recipe that learns vectors, subjects and two teachers, over rows of two subjects."""
    path = data / "routing" / "exam.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    subjects = [{**row, "source": f"exam:{at % 2}"} for at, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in subjects), encoding="utf-8")
    (data / "richer.toml").write_text(
        RECIPE.replace("[[outcomes]]", RICHER + "[[outcomes]]"), encoding="utf-8"
    )
    return load_recipe(data / "richer.toml")


def test_a_classifier_ranks_beside_the_experts_and_they_keep_the_level(data, tiny_base, tmp_path):
    recipe = richer(data)
    train = load_split(recipe, data).train
    alone, both = (
        training_targets(train, Source(recipe, (shipped_encoder(),), classifier, tmp_path), len)
        for classifier in (None, tiny_base)
    )
    measured = np.array([e.is_measured for e in train])
    assert np.array_equal(alone.p_cloud[~measured], both.p_cloud[~measured], equal_nan=True)
    assert not np.allclose(alone.p_cloud[measured], both.p_cloud[measured], atol=1e-4)
    assert both.p_cloud[measured].mean() == pytest.approx(alone.p_cloud[measured].mean(), abs=0.01)
    assert np.array_equal(both.weights, np.where(measured, 3.0, 1.0))
    ruled = np.array([not e.is_measured and e.p_cloud is not None for e in train])
    assert np.array_equal(both.vectors.any(1), ~ruled), "a rule alone needs no vector"


def test_the_subject_of_a_measured_row_is_learned_and_its_head_is_not_saved(data, tmp_path):
    recipe = richer(data)
    train = load_split(recipe, data).train
    targets = training_targets(train, Source(recipe, (shipped_encoder(),), None, tmp_path), len)
    assert targets.subject_count == 2
    assert [targets.subjects[i] for i, e in enumerate(train) if not e.is_measured] == [-1] * sum(
        not e.is_measured for e in train
    )
    learned = {(e.subject, int(targets.subjects[i])) for i, e in enumerate(train) if e.is_measured}
    assert learned == {("exam:0", 0), ("exam:1", 1)}
    first = distill(Distillation(recipe, data, tmp_path / "a", cache=tmp_path), threads=1, progress=len)
    second = distill(
        Distillation(recipe, data, tmp_path / "b", base=str(first), cache=tmp_path), threads=1, progress=len
    )
    assert set(load_file(second / "model.safetensors")) == set(load_file(first / "model.safetensors"))


def test_a_run_that_goes_on_starts_from_the_projection_that_fits(queries, tmp_path):
    texts = [text for text, _ in queries(40)]
    encoder = shipped_encoder()
    vectors = embed(texts, encoder, Reading(tmp_path, 24, len))
    trainee = Trainee(new_student(1, encoder, 0), vectors.shape[1])
    ids = encode(AutoTokenizer.from_pretrained(encoder), texts, 24)

    def distance() -> float:
        batch = pad_batch(list(range(len(ids))), ids)
        with torch.inference_mode():
            found = trainee(batch.input_ids, batch.attention_mask).vector
        wanted = torch.from_numpy(vectors.astype(np.float32))
        return float((1.0 - torch.nn.functional.cosine_similarity(found, wanted)).mean())

    before = distance()
    fit_projection(trainee, ids, vectors)
    assert distance() < 0.5 * before


def test_a_base_of_another_vocabulary_or_too_deep_is_refused(data, tiny_base, tmp_path):
    recipe = load_recipe(data / "recipe.toml")
    with pytest.raises(CheckpointError, match="another vocabulary"):
        distill(Distillation(recipe, data, tmp_path / "v", base=str(tiny_base)), threads=1, progress=len)


def test_labels_alone_need_no_vectors(data, tiny_base, tmp_path):
    text = RECIPE.replace("[schedule]", "[loss]\nembedding = 0.0\n[schedule]")
    (data / "labels.toml").write_text(text, encoding="utf-8")
    run = tmp_path / "l"
    distill(
        Distillation(load_recipe(data / "labels.toml"), data, run, teacher=tiny_base), threads=1, progress=len
    )
    assert [path.name[:8] for path in (run / "cache").iterdir()] == ["opinions"]


def test_a_full_disk_while_saving_keeps_the_last_checkpoint(data, tmp_path, monkeypatch):
    (tmp_path / "c" / "checkpoint").mkdir(parents=True)
    (tmp_path / "c" / "checkpoint" / "config.json").write_text("the last good one")

    def full(weights, path, metadata=None):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    recipe = load_recipe(data / "recipe.toml")
    with pytest.raises(TrainingError, match="No space left on device"):
        distill(Distillation(recipe, data, tmp_path / "c"), threads=1, progress=len)
    assert (tmp_path / "c" / "checkpoint" / "config.json").read_text() == "the last good one"
    assert not list((tmp_path / "c").glob(".checkpoint*"))
