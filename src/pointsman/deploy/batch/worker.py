"""What a worker does, whatever the engine: open a router, turn texts into answers. It holds no state."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pointsman.artifact.store import Artifact
from pointsman.deploy.batch.writing import Answer
from pointsman.errors import InputError
from pointsman.policy import Policy
from pointsman.runtime.router import Router
from pointsman.settings import Settings

Answers = list[Answer | str]
"""One a text: the answer, or the reason why there is none."""


@dataclass(frozen=True, slots=True)
class RouterSpec:
    """Which router a worker opens; small enough to be sent.

    Attributes:
        max_tokens: as in `Settings`; None is the artifact's own.
    """

    path: Path
    artifact_id: str
    variant: str
    policy: Policy
    max_tokens: int | None

    @classmethod
    def of(cls, router: Router, max_tokens: int | None) -> "RouterSpec":
        """The same router once more."""
        artifact = router.artifact
        return cls(artifact.path, artifact.manifest.id, router.variant, router.policy, max_tokens)

    @property
    def pinned(self) -> dict[str, Any]:
        """What a restart must repeat: not the path, which may differ on another machine."""
        return {
            "artifact": self.artifact_id,
            "variant": self.variant,
            "cloud_threshold": self.policy.cloud_threshold,
            "confidence_threshold": self.policy.confidence_threshold,
            "safe_target": self.policy.safe_target,
            "max_tokens": self.max_tokens,
        }

    def at(self, path: Path) -> "RouterSpec":
        """The same with the artifact elsewhere."""
        return replace(self, path=path)

    def open(self, threads: int) -> Router:
        """Open it."""
        settings = Settings(max_tokens=self.max_tokens, threads=threads)
        return Router.open(
            Artifact.open(self.path), variant=self.variant, policy=self.policy, settings=settings
        )


def answer_texts(router: Router, texts: Sequence[str]) -> Answers:
    """Answers in the order of the texts.

    Raises:
        NonFiniteOutputError: the model answered NaN or infinity.
    """
    try:
        decisions = router.route_many(texts) if texts else []
    except InputError as error:
        if len(texts) == 1:
            return [str(error)]
        # One text that the tokenizer refuses must not cost the others.
        return [answer for text in texts for answer in answer_texts(router, [text])]
    return [(d.target, d.confidence, d.p_cloud, d.reason.value, d.truncated) for d in decisions]
