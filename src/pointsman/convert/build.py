"""An export as a pipeline of values: inputs, candidates, verdicts, artifact. No parity, no artifact."""

from dataclasses import dataclass
from pathlib import Path

from pointsman.artifact.store import Artifact, require_place
from pointsman.convert.artifact_files import write_artifact
from pointsman.convert.candidates import make_candidates
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
        ArtifactError: nothing can be written there, which is said first; nothing is left behind.
    """
    require_place(output)
    inputs = read_inputs(checkpoint_path, options, progress)
    candidates, reference = make_candidates(inputs)
    judged, comparisons = judge(inputs, candidates, reference) if reference else (candidates, {})
    return Exported(write_artifact(inputs, judged, comparisons, output), comparisons)
