"""From a target and an artifact to a ready folder, written whole or not at all."""

from collections.abc import Sequence
from pathlib import Path

from pointsman.artifact.store import Artifact, copy_artifact, refuse_existing, staged
from pointsman.deploy.package.render import render_tree
from pointsman.deploy.package.target import Target
from pointsman.errors import ArtifactError

_HOW = {
    "plain": "pointsman export CHECKPOINT (without --no-plain and --slim)",
    "folded": "pointsman export CHECKPOINT (without --no-optimize)",
    "int8": "pointsman export CHECKPOINT (without --no-quantize; the gates may have refused it)",
    "fp16": "pointsman export CHECKPOINT --fp16",
}
"""The command that makes a variant that an artifact does not have."""


def build_package(target: Target, artifact: Artifact, output: Path) -> list[str]:
    """Write the folder of `target` to `output`; returns the names of its files, sorted.

    Raises:
        ArtifactError: the artifact lacks a file that the target needs, or the disk refused.
        IntegrityError: a file is not what the manifest says.
        OutputExistsError: `output` is taken.
    """
    plan = {
        **{name: _variant_file(artifact, target, wanted) for name, wanted in target.variants.items()},
        **{name: _listed(artifact, target, source) for name, source in target.files.items()},
    }
    output = output.absolute()
    with staged(output) as stage:
        try:
            for name, source in plan.items():
                destination = stage / name
                destination.parent.mkdir(parents=True, exist_ok=True)
                destination.write_bytes(artifact.read(source))
            if target.whole_artifact is not None:
                copy_artifact(artifact, stage / target.whole_artifact)
            for folder in filter(None, (target.shared, target.name)):
                render_tree(folder, artifact, stage)
            if target.step is not None:
                target.step(artifact, stage)
            names = sorted(p.relative_to(stage).as_posix() for p in stage.rglob("*") if p.is_file())
            refuse_existing(output)
            stage.rename(output)
        except OSError as error:
            raise ArtifactError(
                f"cannot write {output}: {error.strerror or error}. Nothing was left behind."
            ) from error
    return names


def _variant_file(artifact: Artifact, target: Target, wanted: Sequence[str]) -> str:
    for variant in wanted:
        if variant in artifact.manifest.variants:
            return artifact.manifest.variants[variant]
    raise ArtifactError(
        f"target {target.name}: {artifact.path} has no {' or '.join(wanted)} file, only "
        f"{', '.join(artifact.manifest.variants)}. Make one with: {_HOW[wanted[0]]}."
    )


def _listed(artifact: Artifact, target: Target, source: str) -> str:
    if source in artifact.manifest.files:
        return source
    raise ArtifactError(
        f"target {target.name}: {artifact.path} has no {source}. "
        f"Export a checkpoint directory that has it: pointsman export CHECKPOINT."
    )
