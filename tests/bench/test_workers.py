from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.convert.products import bag_of_words, toy_artifact
from tests.convert.tiny_checkpoint import write_checkpoint

from pointsman.bench.worker_onnx import open_stock
from pointsman.bench.worker_router import open_router
from pointsman.bench.worker_torch import TorchSubject, open_checkpoint
from pointsman.errors import InputError

IDS = np.arange(4, 10, dtype=np.int64).reshape(1, 6)


def test_the_router_and_the_stock_session_answer_alike(tmp_path: Path) -> None:
    artifact = toy_artifact(tmp_path / "toy")
    ours = open_router({"artifact": str(artifact.path), "variant": "folded", "threads": 1})
    model = bag_of_words(tmp_path / "m.onnx")
    stock = open_stock({"kind": "onnx", "model": str(model), "threads": 1})
    ones = np.ones_like(IDS)
    np.testing.assert_allclose(np.asarray(ours.run(IDS, ones)), np.asarray(stock.run(IDS, ones)), rtol=1e-5)


def test_the_router_decides_texts(tmp_path: Path) -> None:
    artifact = toy_artifact(tmp_path / "toy")
    ours = open_router({"artifact": str(artifact.path), "variant": "folded", "threads": 1})
    decisions = ours.bulk(["which train", "the left track now"])
    assert [decision.tokens for decision in decisions] == [4, 6]  # type: ignore[attr-defined]


def test_settings_of_the_environment_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_MAX_SEQUENCE_LENGTH", "3")
    artifact = toy_artifact(tmp_path / "toy")
    ours = open_router({"artifact": str(artifact.path), "variant": "plain", "threads": 1})
    assert ours.bulk(["which train takes the left track"])[0].tokens == 8  # type: ignore[index]


def test_the_loop_pads_batches_in_order_of_arrival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def tokenizer(texts: list[str], **options: object) -> dict[str, object]:
        seen.append(texts)
        assert (options["padding"], options["truncation"], options["max_length"]) == (True, True, 16)
        ids = np.ones((len(texts), 3), np.int64)
        return {"input_ids": ids, "attention_mask": ids}

    monkeypatch.setattr("pointsman.bench.worker_onnx._tokenizer", lambda checkpoint: tokenizer)
    model = bag_of_words(tmp_path / "m.onnx")
    subject = open_stock(
        {"kind": "loop", "model": str(model), "checkpoint": "none", "max_tokens": 16, "threads": 1}
    )
    texts = [str(number) for number in range(70)]
    found = subject.bulk(texts)
    assert [len(batch) for batch in seen] == [32, 32, 6]
    assert [text for batch in seen for text in batch] == texts
    assert len(found) == 70  # type: ignore[arg-type]
    assert all(0.5 <= confidence <= 1.0 for _, confidence in found)  # type: ignore[attr-defined]


def test_torch_reads_no_texts() -> None:
    with pytest.raises(InputError, match="tokens only"):
        TorchSubject(lambda **feed: None).bulk(["a"])


def test_pytorch_runs_in_float32_whatever_the_file_holds(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "checkpoint", dtype="float16")
    halves = {name: t.astype(np.float16) for name, t in load_file(path / "model.safetensors").items()}
    save_file(halves, path / "model.safetensors", {"format": "pt"})
    subject = open_checkpoint({"checkpoint": str(path), "compile": False, "threads": 1})
    assert np.asarray(subject.run(IDS, np.ones_like(IDS))).dtype == np.float32
