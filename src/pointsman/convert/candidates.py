"""The graphs that an export may publish; each comes with the record of how it was made, or of why not."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import onnx

from pointsman.convert.emit import FloatProducts, emit
from pointsman.convert.fold import FoldedMobileBert, fold
from pointsman.convert.inputs import ExportInputs
from pointsman.convert.mobilebert import MobileBertConfig, mobilebert_from_weights
from pointsman.convert.quantize import QuantizationReport, quantize
from pointsman.convert.static_int8 import quantize_static
from pointsman.errors import ConversionError, PointsmanError, UnsupportedModelError
from pointsman.evaluation.parity import Reference


@dataclass(frozen=True, slots=True)
class Candidate:
    """One graph that may be published, or the reason why there is none.

    Attributes:
        variant: its name in the artifact: plain, folded, int8 or fp16.
        part: the key of its record in the manifest's `conversion`.
        record: how it was made; `refused` says why there is no graph.
        model: the graph; None where there is none to publish.
        must_hold: a failed gate ends the export; otherwise this variant alone is left out.
    """

    variant: str
    part: str
    record: Mapping[str, Any]
    model: onnx.ModelProto | None = None
    must_hold: bool = False

    def refused(self, reasons: Iterable[str]) -> "Candidate":
        """The same without its graph, with the reasons on record."""
        return replace(self, model=None, record={**self.record, "refused": "; ".join(reasons)})


@dataclass(frozen=True, slots=True)
class TorchSide:
    """What only torch can make.

    Attributes:
        plain: the graph by torch's exporter; None where nothing asks for it.
        candidates: that graph, and what is made of it.
        reference: the checkpoint's answers; None without validation.
    """

    plain: onnx.ModelProto | None
    candidates: tuple[Candidate, ...]
    reference: Reference | None


def fold_candidate(inputs: ExportInputs) -> tuple[FoldedMobileBert | None, Candidate]:
    """Fold a MobileBERT; None, with the reason on record, where that cannot be done."""
    checkpoint, options = inputs.checkpoint, inputs.options
    candidate = Candidate("folded", "fold", {}, must_hold=True)
    if checkpoint.model_type != "mobilebert":
        return None, candidate.refused([f"model_type {checkpoint.model_type!r} is not MobileBERT"])
    if not (options.fold or options.quantize):
        return None, candidate.refused(["not asked for"])
    began = time.perf_counter()
    try:
        config = MobileBertConfig.from_config(checkpoint.config)
    except UnsupportedModelError as error:
        inputs.progress(f"fold: refused: {error}")
        return None, candidate.refused([str(error)])
    folded = fold(mobilebert_from_weights(config, checkpoint.weights()))
    model = emit(folded, FloatProducts(), "MobileBERT, folded: every NoNorm absorbed, float32")
    seconds = time.perf_counter() - began
    nodes = len(model.graph.node)
    steps = ", ".join(
        f"{s.name} {s.done}" + (f" ({s.refused} refused)" if s.refused else "") for s in folded.steps
    )
    inputs.progress(f"fold: {nodes} nodes in {seconds:.1f} s without torch; {steps}")
    record = {"steps": [asdict(step) for step in folded.steps], "nodes": nodes, "seconds": round(seconds, 3)}
    return folded, replace(candidate, record=record, model=model if options.fold else None)


def int8_candidate(
    inputs: ExportInputs, folded: FoldedMobileBert | None, plain: onnx.ModelProto | None
) -> list[Candidate]:
    """The int8 file, of the folded network or else of the plain graph; none where it is not asked for."""
    if not inputs.options.quantize:
        return []
    settings: Any = {
        "cloud_index": inputs.checkpoint.labels.cloud_index,
        "weight_limit": inputs.options.weight_limit,
        "threads": inputs.options.threads,
    }
    if folded is not None:
        model, report = quantize(folded, inputs.proof.calibration_tokens, **settings)
        inputs.progress(_int8_in_words(report))
        return [Candidate("int8", "int8", asdict(report), model)]
    if plain is None:
        return []
    candidate = _static_int8(inputs, plain, settings)
    inputs.progress("int8: " + ", ".join(f"{k} {v}" for k, v in candidate.record.items()))
    return [candidate]


def _static_int8(inputs: ExportInputs, plain: onnx.ModelProto, settings: Any) -> Candidate:
    """Int8 for another architecture; what was done, or the reason why there is none."""
    from pointsman.convert.optimize import fuse

    candidate = Candidate("int8", "int8", {})
    try:
        graph = fuse(plain, inputs.checkpoint.heads, inputs.checkpoint.hidden_size, split=True).model
    except ConversionError:
        graph = plain
    try:
        made = quantize_static(graph, inputs.proof.calibration_tokens, **settings)
    except (PointsmanError, RuntimeError, ValueError) as error:
        return candidate.refused([f"the graph cannot be rewritten: {error}"])
    if made is None:
        return candidate.refused(["the graph has no product of activations with a constant weight"])
    return replace(candidate, record=asdict(made[1]), model=made[0])


def _int8_in_words(report: QuantizationReport) -> str:
    kept = f" but for {', '.join(report.kept_float)} in float32" if report.kept_float else ""
    return (
        f"int8: {report.products} products{kept}, coordinates at alpha {report.alpha}"
        f"{' centred' if report.centred else ''}, ranges hold {report.covered:.2%} of tokens, "
        f"in {report.seconds:.1f} s "
        f"(mean difference of p(cloud) on {report.texts} calibration texts: {report.mean_p:.4f})"
    )
