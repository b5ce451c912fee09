"""A router small enough to build in a test: every known word has a weight, the margin is their sum.

`hello`, `thanks` and `play` lean to `local`, `analyze` and `plan` to `cloud`; all other words weigh nothing.
"""

from pathlib import Path

from tests.support.keyword_artifact import build_keyword_artifact

from pointsman.artifact.store import Artifact

LOCAL_TEXT = "hello thanks"
CLOUD_TEXT = "analyze the plan"


def build_tiny_artifact(path: Path) -> Artifact:
    """An artifact at `path` (which must not exist): `sigmoid(sum of word weights)` is the p_cloud."""
    return build_keyword_artifact(path)
