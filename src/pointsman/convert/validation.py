"""The gates: each candidate of an export, and each variant of an artifact, against the checkpoint."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx

from pointsman.artifact.store import Artifact
from pointsman.convert.candidate import Candidate
from pointsman.convert.checkpoint import read_checkpoint
from pointsman.convert.inputs import ExportInputs, proof_texts
from pointsman.convert.options import ExportOptions
from pointsman.errors import ArtifactError, ParityError
from pointsman.evaluation.parity import (
    EXACT,
    HALF,
    QUANTIZED,
    Comparison,
    Gate,
    Reference,
    compare,
    require,
    sentence,
)
from pointsman.progress import Progress
from pointsman.runtime.session import Session, SessionConfig

GATES: dict[str, Gate] = {"plain": EXACT, "folded": EXACT, "fp16": HALF, "int8": QUANTIZED}


def judge(
    inputs: ExportInputs, candidates: Iterable[Candidate], reference: Reference
) -> tuple[tuple[Candidate, ...], dict[str, Comparison]]:
    """The candidates as they may be published, and their comparisons.

    One that fails its gates loses its graph, with the reason on record.

    Raises:
        ParityError: one that must hold does not.
    """
    judged: list[Candidate] = []
    comparisons: dict[str, Comparison] = {}
    for candidate in candidates:
        if candidate.model is not None:
            candidate, found = _judged(inputs, candidate, candidate.model, reference)
            comparisons |= found
        judged.append(candidate)
    told = [words for c in judged for words in _explanation(c.record)[:1]][:1]
    if "folded" in comparisons and not comparisons["folded"].passed:
        told.append("--no-optimize leaves out the folded file")
    try:
        require({c.variant: comparisons[c.variant] for c in judged if c.model is not None})
    except ParityError as error:
        raise ParityError("; ".join([str(error), *told])) from None
    return tuple(judged), comparisons


def _judged(
    inputs: ExportInputs, candidate: Candidate, model: onnx.ModelProto, reference: Reference
) -> tuple[Candidate, dict[str, Comparison]]:
    """One candidate by the gate of its kind: as it may be published, and the comparison.

    There is none where an optional file answers NaN, as float16 does beyond 65,504, or does not run.
    """
    variant, reasons = candidate.variant, _explanation(candidate.record)
    found = {}
    try:
        comparison = prove(variant, model.SerializeToString(), reference, inputs.options.threads)
        found[variant] = comparison
        inputs.progress(f"parity: {variant} {sentence(comparison.to_dict())}")
        if comparison.passed or candidate.must_hold:
            return candidate, found
        reasons = [*comparison.failures, *reasons]
    except (ParityError, ArtifactError) as error:
        if candidate.must_hold:
            raise
        reasons = [str(error), *reasons]
    inputs.progress(f"{variant}: left out: {'; '.join(reasons)}")
    return candidate.refused(reasons), found


def prove(variant: str, model: bytes, reference: Reference, threads: int) -> Comparison:
    """Compare one variant's file with the reference, by the gate of its kind."""
    return compare(variant, Session(model, SessionConfig(threads=threads)), reference, GATES[variant])


def validate(
    artifact: Artifact, checkpoint_path: Path, *, queries_file: Path | None, threads: int, progress: Progress
) -> dict[str, Comparison]:
    """Prove every variant of an artifact against a checkpoint.

    Raises:
        ParityError: the checkpoint has other labels.
        IntegrityError: the artifact was altered.
        CheckpointError: the checkpoint cannot be read.
    """
    from pointsman.convert.reference import same_tokens, torch_reference
    from pointsman.convert.torch_export import load_model

    artifact.verify(listed_only=True)
    manifest = artifact.manifest
    checkpoint = read_checkpoint(checkpoint_path, manifest.conversion.get("labels"))
    if checkpoint.labels != manifest.labels:
        raise ParityError(
            f"{artifact.path} answers {list(manifest.labels.names)}, {checkpoint_path} "
            f"{list(checkpoint.labels.names)}: not the same classifier."
        )
    proof = proof_texts(checkpoint, manifest.limits, ExportOptions(queries_file=queries_file))
    progress(f"reference: {len(proof.tokens)} texts through PyTorch in float32 and float64")
    same_tokens(checkpoint, proof, manifest.limits)
    reference = torch_reference(load_model(checkpoint), proof, manifest.labels.cloud_index)
    return {
        variant: prove(variant, artifact.read(file), reference, threads)
        for variant, file in manifest.variants.items()
    }


def _explanation(record: Mapping[str, Any]) -> list[str]:
    """Which activations make it fail, and what the user of an int8 file can do."""
    if "magnitudes" not in record:
        return []
    where = record["magnitudes"]
    largest, median = f"{where['largest']:.3g}", f"{where['median_channel']:.3g}"
    return [
        f"activations are largest at {where['place']}: {largest}, the median channel's {median}",
        "calibrate on queries like yours (--int8-queries), or run a float32 variant",
    ]
