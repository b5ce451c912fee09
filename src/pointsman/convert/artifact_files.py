"""The files of an artifact: models, tokenizer, configuration, parity report and card."""

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from pointsman.artifact.layout import CARD, CONFIG, PARITY_REPORT, TOKENIZER, VARIANTS
from pointsman.artifact.manifest import Manifest
from pointsman.convert.card import model_card
from pointsman.convert.checkpoint import Checkpoint
from pointsman.convert.tokenizer import artifact_tokenizer
from pointsman.datasets.duplicates import SKETCH
from pointsman.errors import ArtifactError
from pointsman.evaluation.parity import Comparison


def write_files(
    stage: Path,
    checkpoint: Checkpoint,
    models: Mapping[str, onnx.ModelProto],
    comparisons: dict[str, Comparison],
    manifest: Manifest,
) -> None:
    """Write everything but the manifest into `stage`.

    Raises:
        ArtifactError: the disk refused.
    """
    try:
        for variant, model in models.items():
            path = stage / VARIANTS[variant]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(model.SerializeToString())
        for file in checkpoint.tokenizer_files:
            shutil.copyfile(file, stage / file.name)
        tokenizer = artifact_tokenizer(checkpoint.path / TOKENIZER, manifest.limits, checkpoint.pad_token_id)
        (stage / TOKENIZER).write_text(tokenizer, encoding="utf-8")
        config = {**checkpoint.config, "num_labels": len(checkpoint.labels.names)}
        (stage / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        if comparisons:
            report = stage / PARITY_REPORT
            report.parent.mkdir(exist_ok=True)
            table = {name: comparison.to_dict() for name, comparison in comparisons.items()}
            report.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (stage / CARD).write_text(model_card(checkpoint, manifest), encoding="utf-8")
    except OSError as error:
        raise ArtifactError(f"cannot write beside {stage.parent}: {error.strerror}.") from error


def summary(comparison: Comparison) -> dict[str, Any]:
    """What the manifest keeps of a comparison."""
    kept = (
        "texts",
        "max_p",
        "mean_p",
        "label_agreement",
        "invariance",
        "relative_error",
        "verdict",
        "passed",
    )
    table = comparison.to_dict()
    return {name: table[name] for name in kept}


def _training(checkpoint: Path) -> dict[str, Any]:
    """The sketch of the rows that a checkpoint of ours was trained on."""
    try:
        record = json.loads((checkpoint / "training.json").read_bytes())
        return {"training": {SKETCH: record[SKETCH]}}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def provenance(checkpoint: Checkpoint) -> dict[str, Any]:
    """Where an artifact came from: the checkpoint\'s digest, the time (UTC), the packages\' versions."""
    packages = ("pointsman", "onnx", "onnxruntime", "numpy", "tokenizers", "torch", "transformers")
    curve = {} if checkpoint.curve is None else {"curve": dict(checkpoint.curve)}
    return {
        **curve,
        **_training(checkpoint.path),
        "checkpoint_sha256": checkpoint.sha256,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in packages},
    }
