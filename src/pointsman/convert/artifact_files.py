"""The artifact of an export: manifest, models, tokenizer, configuration, parity report and card."""

import json
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from pointsman import __version__
from pointsman.artifact.layout import CARD, CONFIG, PARITY_REPORT, TOKENIZER, VARIANTS
from pointsman.artifact.manifest import Manifest
from pointsman.artifact.store import Artifact, create
from pointsman.convert.candidate import Candidate
from pointsman.convert.card import model_card
from pointsman.convert.checkpoint import Checkpoint
from pointsman.convert.default_variant import choose_default
from pointsman.convert.inputs import ExportInputs
from pointsman.convert.tokenizer import artifact_tokenizer
from pointsman.datasets.duplicates import SKETCH
from pointsman.evaluation.parity import Comparison
from pointsman.policy import Policy

_KEPT_OF_A_COMPARISON = (
    "texts",
    "max_p",
    "mean_p",
    "label_agreement",
    "invariance",
    "relative_error",
    "verdict",
    "passed",
)


def write_artifact(
    inputs: ExportInputs,
    candidates: Iterable[Candidate],
    comparisons: Mapping[str, Comparison],
    output: Path,
) -> Artifact:
    """Write what was judged, whole or not at all.

    Raises:
        OutputExistsError: another process wrote it first.
        ArtifactError: the disk refused; nothing is left behind.
    """
    options = inputs.options
    conversion = {"labels": dict(options.labels)} if options.labels else {}
    conversion |= {c.part: dict(c.record) for c in candidates if c.record}
    models = {c.variant: c.model for c in candidates if c.model is not None}
    if not options.plain and len(models) > 1:
        models.pop("plain", None)
    default, timings = choose_default(models, options, inputs.proof.lengths)
    if timings:
        conversion["choice"] = timings
        for variant, reason in timings["refused"].items():
            inputs.progress(f"{variant}: not the default: {reason}")
    if options.slim:
        models = {default: models[default]}
    reports = {variant: comparison.to_dict() for variant, comparison in comparisons.items()}
    manifest = _manifest(inputs, models, default, conversion, reports)
    files = partial(
        _write_files, checkpoint=inputs.checkpoint, models=models, reports=reports, manifest=manifest
    )
    artifact = create(output, manifest, files)
    inputs.progress(f"artifact: {output} (default variant: {default})")
    return artifact


def _manifest(
    inputs: ExportInputs,
    models: Mapping[str, onnx.ModelProto],
    default: str,
    conversion: Mapping[str, Any],
    reports: Mapping[str, Mapping[str, Any]],
) -> Manifest:
    checkpoint = inputs.checkpoint
    return Manifest(
        name=inputs.name,
        model_type=checkpoint.model_type,
        labels=checkpoint.labels,
        limits=inputs.limits,
        policy=Policy(),
        calibration=checkpoint.calibration,
        chat=checkpoint.chat,
        variants={variant: VARIANTS[variant] for variant in models},
        default_variant=default,
        opsets={
            VARIANTS[variant]: {item.domain or "ai.onnx": int(item.version) for item in model.opset_import}
            for variant, model in models.items()
        },
        conversion=conversion,
        parity={
            variant: {name: report[name] for name in _KEPT_OF_A_COMPARISON}
            for variant, report in reports.items()
        },
        provenance=_provenance(checkpoint),
        scripts=checkpoint.scripts,
    )


def _training(checkpoint: Path) -> dict[str, Any]:
    """The sketch of the rows that the checkpoint was trained on, where it says so."""
    try:
        record = json.loads((checkpoint / "training.json").read_bytes())
        return {"training": {SKETCH: record[SKETCH]}}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _provenance(checkpoint: Checkpoint) -> dict[str, Any]:
    """Where an artifact came from: the checkpoint's digest, the time (UTC), the packages' versions."""
    packages = ("onnx", "onnxruntime", "numpy", "tokenizers", "torch", "transformers")
    curve = {} if checkpoint.curve is None else {"curve": dict(checkpoint.curve)}
    return {
        **curve,
        **_training(checkpoint.path),
        "checkpoint_sha256": checkpoint.sha256,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"pointsman": __version__} | {name: version(name) for name in packages},
    }


def _write_files(
    stage: Path,
    checkpoint: Checkpoint,
    models: Mapping[str, onnx.ModelProto],
    reports: Mapping[str, Any],
    manifest: Manifest,
) -> None:
    """Write everything but the manifest into `stage`."""
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
    if reports:
        (stage / PARITY_REPORT).parent.mkdir(exist_ok=True)
        text = json.dumps(reports, indent=2, ensure_ascii=False) + "\n"
        (stage / PARITY_REPORT).write_text(text, encoding="utf-8")
    (stage / CARD).write_text(model_card(checkpoint, manifest), encoding="utf-8")
