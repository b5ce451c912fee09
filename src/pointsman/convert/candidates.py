"""The graphs that an export may publish: of the algebra here, of torch's exporter in `torch_candidates`."""

import time
from dataclasses import asdict, replace

from pointsman.checkpoint.word_experts import WordExperts
from pointsman.convert.candidate import Candidate
from pointsman.convert.emit import FloatProducts, emit
from pointsman.convert.fold import FoldedMobileBert, fold
from pointsman.convert.inputs import ExportInputs
from pointsman.convert.mobilebert import MobileBertConfig, mobilebert_from_weights
from pointsman.convert.quantize import QuantizationReport, quantize
from pointsman.convert.word_experts import add_word_experts
from pointsman.errors import UnsupportedModelError
from pointsman.evaluation.parity import Reference


def make_candidates(inputs: ExportInputs) -> tuple[tuple[Candidate, ...], Reference | None]:
    """Every graph that the options ask for, and the checkpoint's answers to judge them by, if they do."""
    options = inputs.options
    experts = inputs.checkpoint.word_experts()  # Before the minute's work: their file may be refused.
    folded, fold = _folded(inputs)
    by_torch: list[Candidate] = []
    reference = None
    if options.plain or options.validate or options.half or folded is None:
        # torch itself is imported only where something asks for it.
        from pointsman.convert.torch_candidates import torch_candidates

        by_torch, reference = torch_candidates(inputs, is_folded=folded is not None)
    int8 = [_int8(inputs, folded)] if options.quantize and folded is not None else []
    return _with_word_experts(inputs, experts, (fold, *by_torch, *int8)), reference


def _folded(inputs: ExportInputs) -> tuple[FoldedMobileBert | None, Candidate]:
    """Fold a MobileBERT; None, with the reason on record, where that cannot be done."""
    checkpoint, options = inputs.checkpoint, inputs.options
    candidate = Candidate("folded", "fold", {}, must_hold=True)
    if checkpoint.model_type != "mobilebert":
        return None, candidate.refused([f"model_type {checkpoint.model_type!r} is not MobileBERT"])
    if not (options.fold or options.quantize):
        return None, candidate.refused(["not asked for"])
    began = time.perf_counter()
    try:
        config = MobileBertConfig.from_config({**checkpoint.config, "pad_token_id": checkpoint.pad_token_id})
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


def _int8(inputs: ExportInputs, folded: FoldedMobileBert) -> Candidate:
    """The int8 file of the folded network."""
    model, report = quantize(
        folded,
        inputs.proof.calibration_tokens,
        cloud_index=inputs.checkpoint.labels.cloud_index,
        weight_limit=inputs.options.weight_limit,
        threads=inputs.options.threads,
    )
    inputs.progress(_int8_in_words(report))
    return Candidate("int8", "int8", asdict(report), model)


def _with_word_experts(
    inputs: ExportInputs, experts: WordExperts | None, candidates: tuple[Candidate, ...]
) -> tuple[Candidate, ...]:
    """The candidates with the checkpoint's word experts in every graph; as they are where it has none."""
    if experts is None:
        return candidates
    settings = {"cloud_index": inputs.checkpoint.labels.cloud_index, "max_tokens": inputs.limits.max_tokens}
    made = (
        c if c.model is None else replace(c, model=add_word_experts(c.model, experts, **settings))
        for c in candidates
    )
    inputs.progress(f"word experts: {experts.count} over {len(experts.table)} tokens, added to every graph")
    record = {"experts": experts.count, "tokens": len(experts.table), "exact_tokens": experts.exact_tokens}
    return (*made, Candidate("word experts", "word_experts", record))


def _int8_in_words(report: QuantizationReport) -> str:
    kept = f" but for {', '.join(report.kept_float)} in float32" if report.kept_float else ""
    return (
        f"int8: {report.products} products{kept}, coordinates at alpha {report.alpha}"
        f"{' centred' if report.centred else ''}, ranges hold {report.covered:.2%} of tokens, "
        f"in {report.seconds:.1f} s "
        f"(mean difference of p(cloud) on {report.texts} calibration texts: {report.mean_p:.4f})"
    )
