"""What a target is: a name, its reasons, and which files of an artifact go where.

This file defines the shape of a target, and none in particular.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pointsman.artifact.store import Artifact

Step = Callable[[Artifact, Path], None]
"""Something that copying and rendering cannot do: called with the artifact and the staged folder."""


@dataclass(frozen=True, slots=True)
class Target:
    """One place to run a router.

    Attributes:
        name: the word on the command line, and the folder of templates.
        purpose: what it is for, one line.
        needs: what the place must have, one line.
        tested: how the folder was tested, and what was not; one line.
        variants: destination in the folder to the variants that may stand there, the preferred one first.
        files: destination in the folder to the artifact's file that stands there.
        whole_artifact: where the whole artifact is copied to; None where it is not needed.
        shared: a folder of templates that it has in common with other targets; None where there is none.
        step: runs after the files and the templates.
        page: of `docs/deploy` that tells about it; None where it has the target's own name.
    """

    name: str
    purpose: str
    needs: str
    tested: str
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    whole_artifact: str | None = None
    shared: str | None = None
    step: Step | None = None
    page: str | None = None
