"""An export as a pipeline of values: inputs, candidates, verdicts, artifact. No parity, no artifact."""

from dataclasses import dataclass
from pathlib import Path

from pointsman.artifact.store import Artifact, refuse_existing
from pointsman.convert.artifact_files import write_artifact
from pointsman.convert.candidates import TorchSide, fold_candidate, int8_candidate
from pointsman.convert.inputs import read_inputs
from pointsman.convert.options import ExportOptions
from pointsman.convert.validation import judge
from pointsman.evaluation.parity import Comparison
from pointsman.progress import Progress


@dataclass(frozen=True, slots=True)
class Exported:
    """The artifact, and the comparisons that let it out (empty without validation)."""

    artifact: Artifact
    comparisons: dict[str, Comparison]


def export(checkpoint_path: Path, output: Path, options: ExportOptions, progress: Progress) -> Exported:
    """Turn a checkpoint into a verified artifact at `output`.

    Raises:
        CheckpointError: the checkpoint cannot be read or trusted.
        ConversionError: it cannot be converted as asked.
        DataError: a file of texts is missing, unreadable or empty.
        ParityError: a variant does not answer as the checkpoint does; nothing is written.
        OutputExistsError: `output` is taken.
        ArtifactError: the disk refused; nothing is left behind.
    """
    refuse_existing(output)
    inputs = read_inputs(checkpoint_path, options, progress)
    folded, fold = fold_candidate(inputs)
    by_torch = TorchSide(None, (), None)
    if options.plain or options.validate or options.half or folded is None:
        # torch itself is imported only where something asks for it.
        from pointsman.convert.torch_candidates import torch_side

        by_torch = torch_side(inputs, is_folded=folded is not None)
    made = (fold, *by_torch.candidates, *int8_candidate(inputs, folded, by_torch.plain))
    judged, comparisons = judge(inputs, made, by_torch.reference) if by_torch.reference else (made, {})
    return Exported(write_artifact(inputs, judged, comparisons, output), comparisons)
