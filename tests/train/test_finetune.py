import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from pointsman.artifact.manifest import Chat
from pointsman.checkpoint.word_experts import WORD_EXPERTS, WordExperts
from pointsman.convert.checkpoint import read_checkpoint
from pointsman.errors import CheckpointError, DataError, TrainingError
from pointsman.train.data import Example
from pointsman.train.finetune import SCHEDULE, Plan, balanced, chat_of, finetune, split_rows
from pointsman.train.loop import Loop
from pointsman.train.scoring import CheckpointScorer

pytestmark = pytest.mark.torch


@pytest.fixture
def table(tmp_path: Path, queries) -> Path:
    path = tmp_path / "queries.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("query", "label"), *queries(300)])
    return path


def plan_of(table: Path, base: Path, output: Path, **changes: object) -> Plan:
    schedule = replace(SCHEDULE, epochs=8.0, batch_tokens=256, learning_rate=3e-3, bfloat16=False)
    values = {"files": (table,), "base": str(base), "output": output, "schedule": schedule, "edit_share": 0.0}
    return Plan(**{**values, **changes})  # type: ignore[arg-type]


def answers(checkpoint: Path, texts: list[str]) -> list[str]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return [model.config.id2label[int(i)] for i in logits.argmax(dim=1)]


def test_a_table_becomes_a_checkpoint_that_has_learned_it(table, tiny_base, tmp_path, queries):
    lines: list[str] = []
    plan = plan_of(table, tiny_base, tmp_path / "run")
    checkpoint = finetune(plan, threads=1, progress=lines.append)
    assert {p.name for p in checkpoint.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
    }
    fresh = [q for q in queries(400, seed=9) if q not in queries(300)][:100]
    found = answers(checkpoint, [text for text, _ in fresh])
    assert sum(a == b for a, (_, b) in zip(found, fresh, strict=True)) >= 0.9 * len(fresh)
    record = json.loads((checkpoint / "training.json").read_text())
    assert record["rows"] == {"queries.csv": 300}
    assert record["history"][-1]["validation_measured_entropy"] < 0.5
    assert (tmp_path / "run" / "curves.png").is_file()
    assert any("to train on" in line for line in lines)


def test_how_much_of_a_chat_was_read_reaches_the_checkpoint(tiny_base, tmp_path, queries):
    chats = [
        {
            "messages": [{"role": "user", "content": "hello"}, {"role": "user", "content": text}],
            "label": label,
        }
        for text, label in queries(60)
    ]
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in chats), encoding="utf-8")
    plan = plan_of(path, tiny_base, tmp_path / "run", earlier_turns=1)
    assert all(e.query.endswith("\n¶ hello") for e in split_rows(plan).train)
    short = replace(plan, schedule=replace(plan.schedule, epochs=1.0))
    checkpoint = finetune(short, threads=1, progress=len)
    assert read_checkpoint(checkpoint).chat == CheckpointScorer(checkpoint).chat == Chat(1, last_first=True)
    again = replace(plan, base=str(checkpoint), output=tmp_path / "again", earlier_turns=None)
    assert chat_of(again) == Chat(1, last_first=True), "a base is trained on as it reads"


def test_a_run_that_was_interrupted_ends_as_if_it_was_not(table, tiny_base, tmp_path, monkeypatch):
    monkeypatch.setattr("pointsman.train.loop._SAVE_EVERY_S", 0.0)
    whole = finetune(plan_of(table, tiny_base, tmp_path / "whole" / "run"), threads=1, progress=len)
    plan = plan_of(table, tiny_base, tmp_path / "cut" / "run")
    step = Loop._step

    def interrupted(self, rows, ids):
        if self.step == 21:
            raise KeyboardInterrupt
        return step(self, rows, ids)

    monkeypatch.setattr(Loop, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        finetune(plan, threads=1, progress=len)
    monkeypatch.setattr(Loop, "_step", step)
    lines: list[str] = []
    resumed = finetune(plan, threads=1, progress=lines.append)
    assert any(line.startswith("resumed at step 21 of") for line in lines)
    assert (resumed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_directory_of_another_run_is_refused(table, tiny_base, tmp_path):
    short = replace(SCHEDULE, epochs=0.2, bfloat16=False)
    finetune(plan_of(table, tiny_base, tmp_path / "run", schedule=short), threads=1, progress=len)
    with pytest.raises(TrainingError, match="other settings"):
        finetune(plan_of(table, tiny_base, tmp_path / "run", schedule=short, seed=5), threads=1, progress=len)


def test_other_labels_or_another_base_under_the_same_names_are_another_run(table, tiny_base, tmp_path):
    short = replace(SCHEDULE, epochs=0.2, bfloat16=False)
    given = plan_of(table, tiny_base, tmp_path / "run", schedule=short)
    finetune(given, threads=1, progress=len)
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("local", "\0").replace("cloud", "local").replace("\0", "cloud"), "utf-8")
    with pytest.raises(TrainingError, match=r"other settings \(data_sha256\)"):
        finetune(given, threads=1, progress=len)
    table.write_text(text, encoding="utf-8")
    base = tmp_path / "elsewhere" / Path(tiny_base).name
    shutil.copytree(tiny_base, base)
    (base / "notes.txt").write_text("another", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"other settings \(base_sha256\)"):
        finetune(replace(given, base=str(base)), threads=1, progress=len)


def test_a_loss_that_is_not_finite_stops_the_run(table, tiny_base, tmp_path):
    wild = replace(SCHEDULE, learning_rate=1e30, warmup_share=0.0, clip_norm=1e9, bfloat16=False)
    with pytest.raises(TrainingError, match=r"step \d+: the loss is"):
        finetune(plan_of(table, tiny_base, tmp_path / "run", schedule=wild), threads=1, progress=len)


def test_validation_rows_that_leak_into_training_are_left_out_and_counted(
    table, tiny_base, tmp_path, queries
):
    held = tmp_path / "held.csv"
    with held.open("w", newline="", encoding="utf-8") as stream:
        rows = [(text.upper() + "!", label) for text, label in queries(300)[:40]]
        csv.writer(stream).writerows([("query", "label"), *rows])
    split = split_rows(plan_of(table, tiny_base, tmp_path / "run", validation=(held,), balance=False))
    assert (len(split.train), len(split.validation), split.report.leaked) == (260, 40, 40)


def test_too_little_or_one_sided_data_is_refused(tiny_base, tmp_path, queries):
    path = tmp_path / "few.csv"
    for rows, message in (
        (queries(12), "at least 20"),
        ([q for q in queries(90) if q[1] == "local"] + [("prove it", "cloud")], "one class only"),
    ):
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("query", "label"), *rows])
        with pytest.raises(DataError, match=message):
            split_rows(plan_of(path, tiny_base, tmp_path / "run"))


def test_the_rarer_class_is_repeated_until_both_are_as_many():
    made = [Example(f"q{i}", float(i < 7), "s", True) for i in range(50)]
    even = balanced(made, seed=1)
    assert sum(e.p_cloud == 1.0 for e in even) == sum(e.p_cloud == 0.0 for e in even) == 43
    assert {e.query for e in even} == {e.query for e in made}
    assert even == balanced(made, seed=1)
    assert balanced(made[:7], seed=1) == made[:7]


def test_a_base_without_a_tokenizer_is_refused(table, tiny_base, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((tiny_base / name).read_bytes())
    with pytest.raises(CheckpointError, match="neither"):
        finetune(plan_of(table, bare, tmp_path / "run"), threads=1, progress=len)


def test_a_tokenizer_of_another_vocabulary_is_refused(table, tiny_base, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    (other / "tokenizer.json").unlink()
    words = (tiny_base / "vocab.txt").read_text(encoding="utf-8") + "one\nmore\n"
    (other / "vocab.txt").write_text(words, encoding="utf-8")
    transformers.BertTokenizerFast(vocab=str(other / "vocab.txt")).save_pretrained(other)
    with pytest.raises(CheckpointError, match="another vocabulary"):
        finetune(plan_of(table, other, tmp_path / "run"), threads=1, progress=len)


def test_training_stops_when_validation_no_longer_improves(table, tiny_base, tmp_path):
    still = replace(SCHEDULE, epochs=8.0, batch_tokens=256, learning_rate=0.0, evaluations=8, patience=2)
    plan = plan_of(table, tiny_base, tmp_path / "run", schedule=replace(still, bfloat16=False))
    checkpoint = finetune(plan, threads=1, progress=len)
    record = json.loads((checkpoint / "training.json").read_text())
    assert record["stopped_early"] is True
    assert len(record["history"]) == 3


@pytest.mark.parametrize("kept", [True, False])
def test_word_experts_of_the_base_are_kept_as_they_are_unless_told_otherwise(
    kept, table, tiny_base, tmp_path
):
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    size = json.loads((base / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    table_of_words = np.random.default_rng(0).normal(size=(size, 4))
    WordExperts.rounded(table_of_words, np.zeros(2), np.zeros(2), [0, 1]).write(base)
    plan = plan_of(table, base, tmp_path / "run", word_experts=kept)
    schedule = replace(plan.schedule, epochs=1.0, evaluations=1)
    checkpoint = finetune(replace(plan, schedule=schedule), threads=1, progress=len)
    made = checkpoint / WORD_EXPERTS
    assert made.exists() == kept
    assert not kept or made.read_bytes() == (base / WORD_EXPERTS).read_bytes()
    assert not [name for name in read_checkpoint(checkpoint).weights() if "word_experts" in name]
