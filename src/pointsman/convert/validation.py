"""The proof of an export, and of an artifact that was made before: each variant against the checkpoint."""

from collections.abc import Callable
from pathlib import Path

from pointsman.artifact.store import Artifact
from pointsman.convert.checkpoint import read_checkpoint
from pointsman.convert.options import ExportOptions
from pointsman.convert.queries import ProofTexts, proof_texts
from pointsman.errors import ParityError
from pointsman.evaluation.parity import EXACT, HALF, QUANTIZED, Comparison, Gate, Reference, compare
from pointsman.runtime.session import Session, SessionConfig

Progress = Callable[[str], None]

GATES: dict[str, Gate] = {"plain": EXACT, "folded": EXACT, "fp16": HALF, "int8": QUANTIZED}


def prove(
    variant: str, model: bytes, reference: Reference, proof: ProofTexts, cloud_index: int, threads: int
) -> Comparison:
    """Compare one variant's file with the reference, by the gate of its kind."""
    session = Session(model, SessionConfig(threads=threads))
    return compare(
        variant,
        session,
        reference,
        proof.texts,
        proof.tokens,
        GATES[variant],
        cloud_index=cloud_index,
        pad_id=proof.pad_id,
    )


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
    reference = torch_reference(load_model(checkpoint), proof.tokens)
    return {
        variant: prove(variant, artifact.read(file), reference, proof, manifest.labels.cloud_index, threads)
        for variant, file in manifest.variants.items()
    }
