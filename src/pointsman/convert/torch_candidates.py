"""The exporter path: the plain graph by torch, what is made of it, and the answers to compare with."""

import time

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from pointsman.convert.candidates import Candidate, TorchSide
from pointsman.convert.inputs import ExportInputs
from pointsman.convert.optimize import fuse
from pointsman.convert.reference import same_tokens, torch_reference
from pointsman.convert.torch_export import export_plain, load_model
from pointsman.errors import ConversionError


def torch_side(inputs: ExportInputs, *, is_folded: bool) -> TorchSide:
    """Everything that needs torch, as far as the options ask for it.

    Args:
        inputs: of the export.
        is_folded: whether the algebra made a folded file; otherwise ONNX Runtime's optimizer is asked.

    Raises:
        CheckpointError: the weights do not fit, or the tokenizer's files contradict each other.
        ConversionError: the exporter failed.
    """
    options = inputs.options
    if options.validate:
        same_tokens(inputs.checkpoint, inputs.proof, inputs.limits)
    model = load_model(inputs.checkpoint)
    plain, candidates = None, []
    if options.plain or options.half or not is_folded:
        began = time.perf_counter()
        plain = export_plain(model, options.opset, options.shape)
        nodes, seconds = len(plain.graph.node), round(time.perf_counter() - began, 3)
        inputs.progress(f"plain: {nodes} nodes at opset {options.opset} by torch's exporter")
        record = {"nodes": nodes, "opset": options.opset, "seconds": seconds}
        published = plain if options.plain or not is_folded else None
        candidates.append(Candidate("plain", "plain", record, published, must_hold=True))
        if options.fold and not is_folded:
            candidates.append(_fused(inputs, plain))
        if options.half:
            candidates.append(Candidate("fp16", "fp16", {}, _half(plain)))
    reference = None
    if options.validate:
        inputs.progress(f"reference: {len(inputs.proof.tokens)} texts through PyTorch in float32 and float64")
        reference = torch_reference(model, inputs.proof, inputs.checkpoint.labels.cloud_index)
    return TorchSide(plain, tuple(candidates), reference)


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


def _half(plain: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(plain)
    half: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    return half
