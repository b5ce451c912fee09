"""The journey of an export, in order: read, export, fold, quantize, prove, write. No parity, no artifact."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from pointsman.artifact.layout import (
    VARIANTS,
)
from pointsman.artifact.manifest import Limits, Manifest
from pointsman.artifact.store import Artifact, refuse_existing, seal, staged
from pointsman.convert.artifact_files import provenance, summary, write_files
from pointsman.convert.checkpoint import Checkpoint, read_checkpoint
from pointsman.convert.default_variant import choose_default
from pointsman.convert.emit import FloatProducts, emit
from pointsman.convert.fold import FoldedMobileBert, Step, fold
from pointsman.convert.mobilebert import MobileBertConfig, mobilebert_from_weights
from pointsman.convert.options import ExportOptions
from pointsman.convert.quantize import QuantizationReport, quantize
from pointsman.convert.queries import ProofTexts, proof_texts
from pointsman.convert.static_int8 import quantize_static
from pointsman.convert.validation import prove
from pointsman.errors import (
    CheckpointError,
    ConversionError,
    PointsmanError,
    UnsupportedModelError,
)
from pointsman.evaluation.parity import Comparison, Reference, require, sentence
from pointsman.policy import Policy

if TYPE_CHECKING:
    from pointsman.convert.optimize import Fused

Progress = Callable[[str], None]

CHARS_PER_TOKEN = 50
"""Characters looked at per token that is read: enough for any text, little enough for any attack."""


@dataclass(frozen=True, slots=True)
class Exported:
    """The artifact, and the comparisons that let it out (empty without validation)."""

    artifact: Artifact
    comparisons: dict[str, Comparison]


@dataclass(slots=True)
class _Journey:
    """What has been made so far."""

    models: dict[str, onnx.ModelProto]
    conversion: dict[str, Any]


def export(checkpoint_path: Path, output: Path, options: ExportOptions, progress: Progress) -> Exported:
    """Turn a checkpoint into a verified artifact at `output`.

    Raises:
        CheckpointError: the checkpoint cannot be read or trusted.
        ConversionError: it cannot be converted as asked.
        ParityError: a variant does not answer as the checkpoint does; nothing is written.
        OutputExistsError: `output` is taken.
        ArtifactError: the disk refused; nothing is left behind.
    """
    refuse_existing(output)
    checkpoint = read_checkpoint(checkpoint_path, options.labels)
    limits = _limits(checkpoint, options)
    progress(f"checkpoint: {checkpoint.model_type}, labels {', '.join(checkpoint.labels.names)}")
    if checkpoint.prefix:
        progress(f"checkpoint: every tensor's name begins with {checkpoint.prefix!r}; read without it")
    journey = _Journey({}, {"labels": dict(options.labels)} if options.labels else {})
    folded = _fold(checkpoint, options, journey, progress)
    proof = proof_texts(checkpoint, limits, options)
    reference = _plain_and_reference(checkpoint, options, journey, proof, folded is None, progress)
    if options.quantize:
        _quantize(folded, journey, proof, checkpoint, options, progress)
    comparisons = _prove(journey, reference, proof, checkpoint, options, progress) if reference else {}
    return Exported(_write(checkpoint, output, limits, journey, comparisons, options, progress), comparisons)


def _limits(checkpoint: Checkpoint, options: ExportOptions) -> Limits:
    longest = checkpoint.max_positions
    if options.max_tokens < 2 or (longest is not None and options.max_tokens > longest):
        raise CheckpointError(
            f"max length {options.max_tokens}: expected 2..{longest or 'the model limit'} tokens "
            "for this checkpoint."
        )
    if options.shape.sequence is not None and options.shape.sequence < options.max_tokens:
        raise CheckpointError(
            f"max length {options.max_tokens} with a fixed shape of {options.shape.sequence} tokens: the "
            f"file could not read such a text. Ask for a max length of {options.shape.sequence}, or a "
            "longer shape."
        )
    return Limits(options.max_tokens, options.max_tokens * CHARS_PER_TOKEN)


def _fold(
    checkpoint: Checkpoint, options: ExportOptions, journey: _Journey, progress: Progress
) -> FoldedMobileBert | None:
    """Fold a MobileBERT; None, with the reason on record, where that cannot be done."""
    if checkpoint.model_type != "mobilebert":
        journey.conversion["fold"] = {"refused": f"model_type {checkpoint.model_type!r} is not MobileBERT"}
        return None
    if not (options.fold or options.quantize):
        journey.conversion["fold"] = {"refused": "not asked for"}
        return None
    began = time.perf_counter()
    try:
        config = MobileBertConfig.from_config(checkpoint.config)
    except UnsupportedModelError as error:
        journey.conversion["fold"] = {"refused": str(error)}
        progress(f"fold: refused: {error}")
        return None
    folded = fold(mobilebert_from_weights(config, checkpoint.weights()))
    model = emit(folded, FloatProducts(), "MobileBERT, folded: every NoNorm absorbed, float32")
    if options.fold:
        journey.models["folded"] = model
    seconds = time.perf_counter() - began
    journey.conversion["fold"] = {
        "steps": [asdict(step) for step in folded.steps],
        "nodes": len(model.graph.node),
        "seconds": round(seconds, 3),
    }
    progress(
        f"fold: {len(model.graph.node)} nodes in {seconds:.1f} s without torch; {_in_words(folded.steps)}"
    )
    return folded


def _in_words(steps: tuple[Step, ...]) -> str:
    return ", ".join(f"{s.name} {s.done}" + (f" ({s.refused} refused)" if s.refused else "") for s in steps)


def _plain_and_reference(
    checkpoint: Checkpoint,
    options: ExportOptions,
    journey: _Journey,
    proof: ProofTexts,
    optimize: bool,
    progress: Progress,
) -> Reference | None:
    """The exporter path: needs torch, so it is imported here and only where something asks for it."""
    if not (options.plain or options.validate or optimize or options.half):
        return None
    from pointsman.convert.reference import same_tokens, torch_reference
    from pointsman.convert.torch_export import export_plain, load_model

    if options.validate:
        same_tokens(checkpoint, proof, _limits(checkpoint, options))
    model = load_model(checkpoint)
    if options.plain or optimize or options.half:
        began = time.perf_counter()
        plain = export_plain(model, options.opset, options.shape)
        journey.conversion["plain"] = {
            "nodes": len(plain.graph.node),
            "opset": options.opset,
            "seconds": round(time.perf_counter() - began, 3),
        }
        progress(f"plain: {len(plain.graph.node)} nodes at opset {options.opset} by torch's exporter")
        if options.plain or optimize:
            journey.models["plain"] = plain
        if optimize and options.fold:
            _optimize(plain, checkpoint, journey, progress)
        if options.half:
            journey.models["fp16"] = _half(plain)
    if not options.validate:
        return None
    progress(f"reference: {len(proof.tokens)} texts through PyTorch in float32 and float64")
    return torch_reference(model, proof.tokens)


def _optimize(plain: onnx.ModelProto, checkpoint: Checkpoint, journey: _Journey, progress: Progress) -> None:
    try:
        fused = _fused(plain, checkpoint)
    except ConversionError as error:
        journey.conversion["optimizer"] = {"refused": str(error)}
        progress(f"optimizer: refused: {error}")
        return
    journey.conversion["optimizer"] = {"fused": fused.counts}
    if fused.counts:
        journey.models["folded"] = fused.model
        progress("optimizer: fused " + ", ".join(f"{n} {name}" for name, n in fused.counts.items()))
    else:
        journey.conversion["optimizer"]["refused"] = (
            "ONNX Runtime's transformer optimizer found nothing to fuse"
        )
        progress("optimizer: fused nothing; the plain file is what there is")


def _fused(plain: onnx.ModelProto, checkpoint: Checkpoint, *, split: bool = False) -> "Fused":
    from pointsman.convert.optimize import fuse

    config = checkpoint.config
    heads = config.get("num_attention_heads") or config.get("n_heads") or config.get("n_head") or 0
    hidden = config.get("hidden_size") or config.get("dim") or config.get("n_embd") or 0
    return fuse(plain, int(heads), int(hidden), split=split)


def _half(plain: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(plain)
    half: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    return half


def _quantize(
    folded: FoldedMobileBert | None,
    journey: _Journey,
    proof: ProofTexts,
    checkpoint: Checkpoint,
    options: ExportOptions,
    progress: Progress,
) -> None:
    settings: Any = {
        "cloud_index": checkpoint.labels.cloud_index,
        "weight_limit": options.weight_limit,
        "threads": options.threads,
    }
    if folded is not None:
        model, report = quantize(folded, proof.calibration_tokens, **settings)
        journey.models["int8"], journey.conversion["int8"] = model, asdict(report)
        progress(_tell_int8(report))
    elif "plain" in journey.models:
        journey.conversion["int8"] = _quantize_other(journey, proof, checkpoint, settings)
        progress("int8: " + ", ".join(f"{k} {v}" for k, v in journey.conversion["int8"].items()))


def _quantize_other(
    journey: _Journey, proof: ProofTexts, checkpoint: Checkpoint, settings: Any
) -> dict[str, Any]:
    """Int8 for another architecture; what was done, or the reason why there is none."""
    plain = journey.models["plain"]
    try:
        graph = _fused(plain, checkpoint, split=True).model
    except ConversionError:
        graph = plain
    try:
        made = quantize_static(graph, proof.calibration_tokens, **settings)
    except (PointsmanError, RuntimeError, ValueError) as error:
        return {"refused": f"the graph cannot be rewritten: {error}"}
    if made is None:
        return {"refused": "the graph has no product of activations with a constant weight"}
    journey.models["int8"] = made[0]
    return asdict(made[1])


def _tell_int8(report: QuantizationReport) -> str:
    kept = f" but for {', '.join(report.kept_float)} in float32" if report.kept_float else ""
    return (
        f"int8: {report.products} products{kept}, coordinates at alpha {report.alpha}"
        f"{' centred' if report.centred else ''}, ranges hold {report.covered:.2%} of tokens, "
        f"in {report.seconds:.1f} s "
        f"(mean difference of p(cloud) on {report.texts} calibration texts: {report.mean_p:.4f})"
    )


def _prove(
    journey: _Journey,
    reference: Reference,
    proof: ProofTexts,
    checkpoint: Checkpoint,
    options: ExportOptions,
    progress: Progress,
) -> dict[str, Comparison]:
    """Compare every variant: exact ones must hold, int8 and fp16 are left out with a reason otherwise."""
    comparisons: dict[str, Comparison] = {}
    for variant in list(journey.models):
        model = journey.models[variant].SerializeToString()
        found = prove(variant, model, reference, proof, checkpoint.labels.cloud_index, options.threads)
        comparisons[variant] = found
        progress(f"parity: {variant} {sentence(found.to_dict())}")
        # What ONNX Runtime's optimizer fused is no more than an offer; what the algebra folded must hold.
        optional = ("int8", "fp16", "folded") if "optimizer" in journey.conversion else ("int8", "fp16")
        if not found.passed and variant in optional:
            del journey.models[variant]
            part = "optimizer" if variant == "folded" else variant
            record = journey.conversion.get(part, {})
            reasons = [*found.failures, *_explanation(record)]
            journey.conversion[part] = {**record, "refused": "; ".join(reasons)}
            progress(f"{variant}: left out: {'; '.join(reasons)}")
    require({name: c for name, c in comparisons.items() if name in journey.models})
    return comparisons


def _explanation(record: Mapping[str, Any]) -> list[str]:
    """Which activations made int8 fail, and what its user can do."""
    if "magnitudes" not in record:
        return []
    where = record["magnitudes"]
    largest, median = f"{where['largest']:.3g}", f"{where['median_channel']:.3g}"
    return [
        f"activations are largest at {where['place']}: {largest}, the median channel's {median}",
        "calibrate on queries like yours (--int8-queries), or run the folded variant",
    ]


def _write(
    checkpoint: Checkpoint,
    output: Path,
    limits: Limits,
    journey: _Journey,
    comparisons: dict[str, Comparison],
    options: ExportOptions,
    progress: Progress,
) -> Artifact:
    default, timings = choose_default(journey.models, options)
    if timings:
        journey.conversion["choice"] = timings
    if options.slim:
        journey.models = {default: journey.models[default]}
    if not options.plain:
        journey.models.pop("plain", None) if len(journey.models) > 1 else None
    name = options.name or checkpoint.path.resolve().name
    manifest = Manifest(
        name=name,
        model_type=checkpoint.model_type,
        labels=checkpoint.labels,
        limits=limits,
        policy=Policy(),
        calibration=checkpoint.calibration,
        chat=checkpoint.chat,
        variants={variant: VARIANTS[variant] for variant in journey.models},
        default_variant=default,
        opsets={
            VARIANTS[variant]: {item.domain or "ai.onnx": int(item.version) for item in model.opset_import}
            for variant, model in journey.models.items()
        },
        conversion=journey.conversion,
        parity={name: summary(comparison) for name, comparison in comparisons.items()},
        provenance=provenance(checkpoint),
        scripts=checkpoint.scripts,
    )
    with staged(output) as stage:
        write_files(stage, checkpoint, journey.models, comparisons, manifest)
        artifact = seal(stage, output, manifest)
    progress(f"artifact: {output} (default variant: {default})")
    return artifact
