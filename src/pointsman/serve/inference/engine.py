"""The router inside the server: versions that come and go, a cache, a batcher, a canary and a shadow.

A request is answered by exactly one version: model, tokenizer, labels and thresholds come from the same
`ModelVersion`, whatever is loaded meanwhile. It knows nothing of HTTP and upstreams. It has more than 300
lines, because a swap touches the cache, the canary and the shadow at once.
"""

import asyncio
import copy
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from pointsman.artifact.address import open_artifact, version_of
from pointsman.decision import Decision
from pointsman.errors import ArtifactError, NonFiniteOutputError, PointsmanError
from pointsman.labels import CLOUD, LOCAL
from pointsman.policy import Policy
from pointsman.runtime.router import Router, effective_policy
from pointsman.runtime.session import SessionConfig, available_threads
from pointsman.serve.failures import GatewayError
from pointsman.serve.inference.batcher import Batcher
from pointsman.serve.inference.cache import RecentCache
from pointsman.serve.inference.drift import Drift
from pointsman.serve.logs import log
from pointsman.serve.settings import GatewaySettings
from pointsman.settings import Settings

_PROBES = ("hello", "Compare three strategies and derive the best one, step by step.", "?", "word " * 400)
_BYTES_A_TOKEN = 5
"""Of English words with their spaces; a Chinese character is three bytes, and about a token."""
_TOKENS_A_TEXT = 6
"""What any text costs: two special tokens, and as much work as four more."""
_FAILURE_LIMIT = 5
"""Consecutive failures of the model after which the gateway is not ready."""


class Answer(NamedTuple):
    """A decision and the version that made it."""

    decision: Decision
    version: str

    def trace_facts(self) -> dict[str, str | float | bool]:
        """The decision as facts of a span."""
        decision = self.decision
        return {
            "confidence": decision.confidence,
            "p_cloud": decision.p_cloud,
            "truncated": decision.truncated,
            "tokens": decision.tokens,
            "version": self.version,
        }


@dataclass(eq=False)
class ModelVersion:
    """One loaded version.

    Attributes:
        version: its name in a registry; elsewhere the first 12 digits of the artifact's id and the number of
            the load.
        drift: of the texts that this version decided.
    """

    router: Router
    version: str
    cache: RecentCache[Decision]
    drift: Drift
    loaded_at: float = field(default_factory=time.time)

    def decide(self, texts: list[str]) -> list[Decision]:
        """Decide in the calling thread."""
        return self.router.route_many(texts)

    def warm_up(self) -> None:
        """Answer a few texts of several lengths, alone and together, before it serves.

        Raises:
            PointsmanError: it does not answer, or not with probabilities.
        """
        for text in _PROBES:
            self.decide([text])
        if any(not 0.0 <= decision.p_cloud <= 1.0 for decision in self.decide(list(_PROBES) * 4)):
            raise NonFiniteOutputError("a probability outside 0..1.")


@dataclass(slots=True)
class ShadowStats:
    """How often the second artifact agreed with the first, and where it would have sent the others."""

    compared: int = 0
    to_local: int = 0
    to_cloud: int = 0

    def facts(self) -> dict[str, int]:
        """The counts by name."""
        return {"disagreed": self.to_local + self.to_cloud, **asdict(self)}


class Engine:
    """Decides texts, off the event loop.

    Args:
        settings: the gateway's.
        on_shadow: called in the batcher's thread with the first and the second opinion.
        on_answered: see `Batcher`.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        on_shadow: Callable[[Decision, Decision], None] | None = None,
        on_answered: Callable[[float, float], None] | None = None,
    ) -> None:
        self._settings = settings
        self._environment = _environment(settings)
        self._on_shadow = on_shadow
        self._random = random.Random()
        self._path = settings.inference.artifact
        self._loads = 0
        self._failures = 0
        self._reload_lock = asyncio.Lock()
        self.main: ModelVersion | None = None
        self.second: ModelVersion | None = None
        self.canary_share = settings.inference.canary_share
        self.shadow = settings.inference.shadow
        self.shadow_stats = ShadowStats()
        self.batcher: Batcher[ModelVersion, Decision] = Batcher(
            ModelVersion.decide,
            cost=self._tokens,
            max_batch=settings.inference.max_batch,
            max_cost=settings.inference.batch_tokens,
            max_queue=settings.limits.queue,
            threads=settings.inference.threads or self._environment.threads or available_threads(),
            wait_s=settings.inference.batch_wait_ms / 1000,
            idle=self._compare,
            on_answered=on_answered,
        )

    @property
    def is_ready(self) -> bool:
        """Whether it answers: loaded, warm, and not failing again and again."""
        return self.main is not None and self.batcher.is_alive and self._failures < _FAILURE_LIMIT

    @property
    def current(self) -> ModelVersion:
        """The version that answers.

        Raises:
            GatewayError: `model_unavailable` before one is loaded.
        """
        if self.main is None:
            raise GatewayError("model_unavailable", "the classifier is not loaded yet; try again")
        return self.main

    @property
    def policy(self) -> Policy:
        """The thresholds of the version that answers; see `current`."""
        return self.current.router.policy

    def open(self) -> None:
        """Load, prove, and start answering; blocks.

        Raises:
            PointsmanError: the artifact cannot be used.
        """
        inference = self._settings.inference
        self.main = self.load(inference.artifact)
        if inference.canary_artifact is not None:
            self.second = self.load(inference.canary_artifact)
        self.batcher.start()

    def close(self) -> None:
        """Finish what is queued and stop."""
        self.batcher.stop()

    def load(self, artifact: Path | None) -> ModelVersion:
        """A version that is verified and has proved itself; blocks.

        Raises:
            PointsmanError: it is not usable; what is loaded now is not touched.
        """
        inference = self._settings.inference
        opened = open_artifact(artifact) if artifact is not None else None
        if opened is not None:
            opened.verify(listed_only=True)
        try:
            router = Router.open(
                opened,
                variant=inference.variant,
                # The batcher runs batches side by side; inside one there is nothing left to share.
                session=SessionConfig(threads=1),
                settings=self._environment,
            )
        except PointsmanError:
            raise
        except Exception as error:  # noqa: BLE001 - libraries below raise what they like on a broken artifact
            raise ArtifactError(f"the artifact cannot be loaded: {type(error).__name__}.") from None
        self._loads += 1
        version = version_of(router.artifact) or f"{router.manifest.id[:12]}-{self._loads}"
        model = ModelVersion(
            router, version, RecentCache(inference.cache_size), Drift(router.manifest.provenance)
        )
        model.warm_up()
        return model

    async def reload(self, artifact: Path | None = None) -> ModelVersion:
        """Load an artifact beside the one that serves, and swap when it has proved itself.

        Args:
            artifact: a directory, or a version or an alias of a registry; None looks again where the one
                that serves came from.

        Raises:
            PointsmanError: it is not usable; the old one serves on.
        """
        async with self._reload_lock:
            path = artifact if artifact is not None else self._path
            fresh = await asyncio.to_thread(self.load, path)
            self.main = fresh
            self._path = path
            self._failures = 0
            return fresh

    async def serve_threshold(self, threshold: float) -> ModelVersion:
        """Decide with this `cloud_threshold` and no confidence rule from now on; returns what serves."""
        async with self._reload_lock:
            self._environment = replace(
                self._environment, cloud_threshold=threshold, confidence_threshold=None
            )
            self.main = self._again(self.current)
            self.second = None if self.second is None else self._again(self.second)
            return self.main

    def _again(self, model: ModelVersion) -> ModelVersion:
        """The same model under today's thresholds, as a version of its own."""
        router = copy.copy(model.router)
        router.policy = effective_policy(router.manifest.policy, self._environment)
        self._loads += 1
        version = f"{version_of(router.artifact) or router.manifest.id[:12]}-{self._loads}"
        return ModelVersion(router, version, RecentCache(self._settings.inference.cache_size), model.drift)

    async def decide(
        self,
        texts: Sequence[str],
        deadline: float | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
        owner: str = "",
    ) -> list[Answer]:
        """Decide texts of one request: all by the same version.

        Args:
            texts: at least one.
            deadline: `time.monotonic()` of the request's own deadline.
            is_wanted: whether the client still waits for the answer; called in a batcher's thread.
            owner: whose recent decisions may answer: how fast one comes tells that it was asked before.

        Raises:
            GatewayError: `overloaded`, `queue_timeout`, `model_unavailable`.
            NonFiniteOutputError: the model answered NaN.
        """
        model = self._choose()
        cache = model.cache
        # What is not read need not be hashed.
        texts = [text[: model.router.manifest.limits.max_chars + 1] for text in texts]
        keys = [cache.key(text, owner) for text in texts]
        found = [cache.get(key) for key in keys]
        missing = [index for index, decision in enumerate(found) if decision is None]
        if missing:
            expires = time.monotonic() + self._settings.limits.queue_timeout_ms / 1000
            if deadline is not None:
                expires = min(expires, deadline)
            asked = [texts[index] for index in missing]
            decided = await self._decided(model, asked, expires, is_wanted)
            for index, decision in zip(missing, decided, strict=True):
                found[index] = decision
                cache.put(keys[index], decision)
        answers = [Answer(decision, model.version) for decision in found if decision is not None]
        for answer in answers:
            model.drift.observe(answer.decision.p_cloud)
        return answers

    def with_threshold(self, decision: Decision, threshold: float) -> Decision:
        """The same probability under another `cloud_threshold`, with the confidence rule off."""
        return self.policy.overruled(cloud_threshold=threshold).decide_again(decision)

    async def _decided(
        self, model: ModelVersion, texts: list[str], expires: float, is_wanted: Callable[[], bool]
    ) -> list[Decision]:
        try:
            decided = await self.batcher.submit(model, texts, expires, is_wanted)
        except GatewayError:
            raise
        except PointsmanError:
            self._failures += 1
            raise
        except Exception as error:  # noqa: BLE001 - whatever the libraries below raise, the model did not answer
            self._failures += 1
            log("classifier failed", level=logging.ERROR, kind=type(error).__name__)
            raise GatewayError("model_unavailable", "the classifier failed; try again") from None
        self._failures = 0
        return decided

    def _tokens(self, text: str) -> int:
        """What reading a text costs, in tokens, by its length: tokenizing it here would cost too much."""
        most = self.current.router.manifest.limits.max_tokens
        size = len(text[: _BYTES_A_TOKEN * most].encode("utf-8", "surrogatepass"))
        return _TOKENS_A_TEXT + min(most, size // _BYTES_A_TOKEN)

    def _choose(self) -> ModelVersion:
        if self.second is not None and self.canary_share and self._random.random() < self.canary_share:
            return self.second
        return self.current

    def _compare(self, model: ModelVersion, texts: list[str], decisions: list[Decision]) -> None:
        """Ask the second artifact too, when nothing else is waiting, and only count."""
        if not self.shadow or self.second is None or model is self.second:
            return
        for mine, other in zip(decisions, self.second.decide(texts), strict=True):
            self.shadow_stats.compared += 1
            self.shadow_stats.to_local += mine.target != other.target == LOCAL
            self.shadow_stats.to_cloud += mine.target != other.target == CLOUD
            if self._on_shadow is not None:
                self._on_shadow(mine, other)


def _environment(settings: GatewaySettings) -> Settings:
    """What the environment says about routing, overruled by the gateway's own thresholds."""
    routing = settings.routing
    given = {
        name: value
        for name in ("cloud_threshold", "confidence_threshold", "safe_target")
        if (value := getattr(routing, name)) is not None
    }
    return replace(Settings.load(), **given)
