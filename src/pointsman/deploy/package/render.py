"""Templates to text: `@@name` and `@@{name}` are replaced, everything else stands as it is.

The usual `$` means something in shell, JavaScript, YAML and Docker, so the delimiter is another one.
"""

import json
import string
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from tokenizers import Tokenizer

from pointsman import __version__
from pointsman.artifact.layout import TOKENIZER
from pointsman.artifact.manifest import Manifest
from pointsman.artifact.store import Artifact
from pointsman.runtime.readability import FOREIGN, HALF, NEUTRAL, READ, word_weights

SUFFIX = ".tmpl"
_WEIGHTS = {READ: "r", NEUTRAL: ".", HALF: "h", FOREIGN: "f"}


class AtTemplate(string.Template):
    """A `string.Template` with `@@` for its delimiter."""

    delimiter = "@@"


def template_root(target: str) -> Traversable:
    """The folder of a target's templates inside the package."""
    return files("pointsman.deploy") / "templates" / target


def facts_of(manifest: Manifest) -> dict[str, str]:
    """What templates may name: text of the manifest's facts, numbers as JSON."""
    calibration = manifest.calibration
    return {
        "name": manifest.name,
        "version": __version__,
        "artifact_id": manifest.id,
        "artifact_short": manifest.id[:12],
        "labels_json": json.dumps(list(manifest.labels.names)),
        "local_label": manifest.labels.names[1 - manifest.labels.cloud_index],
        "cloud_label": manifest.labels.names[manifest.labels.cloud_index],
        "cloud_index": str(manifest.labels.cloud_index),
        "max_tokens": str(manifest.limits.max_tokens),
        "max_chars": str(manifest.limits.max_chars),
        "slope": json.dumps(calibration.a if calibration else 1.0),
        "offset": json.dumps(calibration.b if calibration else 0.0),
        "effective_threshold": json.dumps(manifest.policy.effective_threshold),
        "cloud_threshold": json.dumps(manifest.policy.cloud_threshold),
        "confidence_threshold": json.dumps(manifest.policy.confidence_threshold),
        "safe_target": manifest.policy.safe_target,
    }


def render_tree(target: str, artifact: Artifact, stage: Path) -> None:
    """Write a target's templates into `stage`.

    Raises:
        KeyError: a template uses a fact that does not exist: an error in the package, which the tests find.
    """
    weights = "".join(_WEIGHTS[weight] for weight in weights_of(artifact))
    _render(template_root(target), stage, {**facts_of(artifact.manifest), "word_weights": weights})


def weights_of(artifact: Artifact) -> list[int]:
    """The artifact's `word_weights`, by token id; see `pointsman.runtime.readability`."""
    vocabulary = Tokenizer.from_buffer(artifact.read(TOKENIZER)).get_vocab()
    return word_weights(vocabulary, artifact.manifest.scripts)


def _render(source: Traversable, destination: Path, facts: Mapping[str, str]) -> None:
    for entry in source.iterdir():
        if entry.is_dir():
            _render(entry, destination / entry.name, facts)
        elif entry.name.endswith(SUFFIX):
            path = destination / entry.name.removesuffix(SUFFIX)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = AtTemplate(entry.read_text(encoding="utf-8")).substitute(facts)
            path.write_text(text, encoding="utf-8")
            if text.startswith("#!"):
                path.chmod(0o755)
