"""The exporter path: the plain graph by torch, what is made of it, and the answers to compare with."""

import time
import warnings
from dataclasses import asdict, replace
from typing import Any

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from pointsman.checkpoint.torch_word_experts import attach_word_experts
from pointsman.convert.candidate import Candidate
from pointsman.convert.inputs import ExportInputs
from pointsman.convert.optimize import fuse
from pointsman.convert.reference import same_tokens, torch_reference
from pointsman.convert.static_int8 import quantize_static
from pointsman.convert.torch_export import export_plain, load_network
from pointsman.errors import ConversionError, PointsmanError
from pointsman.evaluation.parity import Reference


def torch_candidates(inputs: ExportInputs, *, is_folded: bool) -> tuple[list[Candidate], Reference | None]:
    """Everything that needs torch, as far as the options ask for it; the reference only with validation.

    Args:
        is_folded: whether the algebra made a folded file; otherwise ONNX Runtime's optimizer is asked, and
            int8 is made of the plain graph.

    Raises:
        CheckpointError: the weights do not fit, or the tokenizer's files contradict each other.
        ConversionError: the exporter failed.
    """
    options = inputs.options
    if options.validate:
        same_tokens(inputs.checkpoint, inputs.proof, inputs.limits)
    model = load_network(inputs.checkpoint)
    made = (
        _of_the_plain_graph(inputs, model, is_folded)
        if options.plain or options.half or not is_folded
        else []
    )
    reference = None
    if options.validate:
        inputs.progress(f"reference: {len(inputs.proof.tokens)} texts through PyTorch in float32 and float64")
        checkpoint = inputs.checkpoint
        attach_word_experts(model, checkpoint.path, checkpoint.labels.cloud_index)
        reference = torch_reference(model, inputs.proof, inputs.checkpoint.labels.cloud_index)
    return made, reference


def _of_the_plain_graph(inputs: ExportInputs, model: Any, is_folded: bool) -> list[Candidate]:
    """The plain graph by torch's exporter, and what is made of it."""
    options = inputs.options
    began = time.perf_counter()
    plain = export_plain(model, options.opset, options.shape)
    nodes, seconds = len(plain.graph.node), round(time.perf_counter() - began, 3)
    inputs.progress(f"plain: {nodes} nodes at opset {options.opset} by torch's exporter")
    record = {"nodes": nodes, "opset": options.opset, "seconds": seconds}
    published = plain if options.plain or not is_folded else None
    made = [Candidate("plain", "plain", record, published, must_hold=True)]
    if options.fold and not is_folded:
        made.append(_fused(inputs, plain))
    if options.half:
        made.append(_half(plain))
    if options.quantize and not is_folded:
        made.append(_static_int8(inputs, plain))
        inputs.progress("int8: " + ", ".join(f"{k} {v}" for k, v in made[-1].record.items()))
    return made


def _fused(inputs: ExportInputs, plain: onnx.ModelProto) -> Candidate:
    """What ONNX Runtime's optimizer fuses; no more than an offer, where what the algebra folds must hold."""
    candidate = Candidate("folded", "optimizer", {})
    try:
        fused = fuse(plain, inputs.checkpoint.heads, inputs.checkpoint.hidden_size)
    except ConversionError as error:
        inputs.progress(f"optimizer: refused: {error}")
        return candidate.refused([str(error)])
    if fused.counts:
        counts = ", ".join(f"{n} {name}" for name, n in fused.counts.items())
        inputs.progress(f"optimizer: fused {counts}")
        return Candidate("folded", "optimizer", {"fused": fused.counts}, fused.model)
    inputs.progress("optimizer: fused nothing; the plain file is what there is")
    nothing = Candidate("folded", "optimizer", {"fused": fused.counts})
    return nothing.refused(["ONNX Runtime's transformer optimizer found nothing to fuse"])


def _half(plain: onnx.ModelProto) -> Candidate:
    """The float16 file, or the reason why there is none."""
    candidate, copy = Candidate("fp16", "fp16", {}), onnx.ModelProto()
    copy.CopyFrom(plain)
    try:
        with warnings.catch_warnings():
            # It warns of every weight that float16 rounds to 0 or to its largest; the gates judge that.
            warnings.simplefilter("ignore")
            return replace(candidate, model=convert_float_to_float16(copy, keep_io_types=True))
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        return candidate.refused([f"the graph cannot be rewritten: {error}"])


def _static_int8(inputs: ExportInputs, plain: onnx.ModelProto) -> Candidate:
    """Int8 for another architecture; what was done, or the reason why there is none."""
    candidate = Candidate("int8", "int8", {})
    try:
        graph = fuse(plain, inputs.checkpoint.heads, inputs.checkpoint.hidden_size, split=True).model
    except ConversionError:
        graph = plain
    try:
        made = quantize_static(
            graph,
            inputs.proof.calibration_tokens,
            cloud_index=inputs.checkpoint.labels.cloud_index,
            weight_limit=inputs.options.weight_limit,
            threads=inputs.options.threads,
        )
    except (PointsmanError, RuntimeError, ValueError) as error:
        return candidate.refused([f"the graph cannot be rewritten: {error}"])
    if made is None:
        return candidate.refused(["the graph has no product of activations with a constant weight"])
    return replace(candidate, record=asdict(made[1]), model=made[0])
