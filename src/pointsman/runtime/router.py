"""The router: text in, decision out. Tokenize, batch, run, decide; everything else is somewhere else."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pointsman.artifact.address import open_artifact, shipped_artifact
from pointsman.artifact.layout import TOKENIZER
from pointsman.artifact.manifest import Limits, Manifest
from pointsman.artifact.store import Artifact
from pointsman.decision import Decision
from pointsman.errors import ArtifactError, InputError, SettingsError
from pointsman.labels import LabelSet
from pointsman.policy import Policy
from pointsman.runtime.batching import pad, plan_batches
from pointsman.runtime.chat import text_of_messages
from pointsman.runtime.probability import cloud_probability
from pointsman.runtime.scheduler import Scheduler
from pointsman.runtime.session import Session, SessionConfig
from pointsman.runtime.tokenize import Encoding, TextEncoder, checked_texts
from pointsman.settings import Settings

STREAM_CHUNK = 2048


class Router:
    """Decides between the local and the cloud model. Safe to share between threads."""

    def __init__(
        self, artifact: Artifact, session: Session, encoder: TextEncoder, policy: Policy, variant: str
    ) -> None:
        """Put a router together; `Router.open` is the usual door."""
        self.artifact = artifact
        self.session = session
        self.policy = policy
        self.variant = variant
        self._encoder = encoder
        self.scheduler = Scheduler(session.threads)

    @classmethod
    def open(
        cls,
        artifact: str | Path | Artifact | None = None,
        *,
        variant: str | None = None,
        policy: Policy | None = None,
        session: SessionConfig | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Open an artifact, verified, and return a router that is ready to answer.

        Args:
            artifact: a directory, `REGISTRY/<version or alias>`, `hub:owner/name[@revision]`, or
                `default-router`; None means the settings' model path, or else the router that is shipped.
            variant: which of the artifact's ONNX files to run: `int8`, `folded`, `plain`, `fp16`; None takes
                the artifact's default.
            policy: the thresholds; None takes the artifact's, overruled by the settings.
            session: threads and providers; None takes the CPU with the settings' threads.
            settings: what the environment says; None reads the environment and `.env`.

        Raises:
            ArtifactError: not there, altered, or not usable.
            RuntimeUnavailableError: a provider is not available.
            SettingsError: an argument, a setting or a variant that is not understood.
        """
        settings = Settings.load() if settings is None else settings
        given = ((settings, Settings), (policy, Policy), (session, SessionConfig), (variant, str))
        for value, kind in given:
            if value is not None and not isinstance(value, kind):
                raise SettingsError(f"Router.open: expected a {kind.__name__}, found {value!r}.")
        opened = artifact if isinstance(artifact, Artifact) else open_artifact(locate(artifact, settings))
        manifest = opened.manifest
        variant = variant or manifest.default_variant
        if variant not in manifest.variants:
            raise SettingsError(f"variant {variant!r}: {opened.path} has {sorted(manifest.variants)}.")
        encoder = TextEncoder(opened.read(TOKENIZER), _limits(manifest, settings), manifest.scripts)
        config = session or SessionConfig(threads=settings.threads)
        optimize = has_to_be_optimized(manifest, variant)
        running = Session(opened.read_blocks(manifest.variants[variant]), config, optimize=optimize)
        return cls(opened, running, encoder, policy or effective_policy(manifest.policy, settings), variant)

    @property
    def manifest(self) -> Manifest:
        """What is known about the artifact that this router runs."""
        return self.artifact.manifest

    @property
    def labels(self) -> LabelSet:
        """Class names in the order of the logits."""
        return self.manifest.labels

    def route(self, text: str) -> Decision:
        """Decide one query.

        Raises:
            InputError: not a string.
            NonFiniteOutputError: the model answered NaN or infinity.
        """
        return self.route_many([text])[0]

    def route_chat(self, messages: Sequence[Mapping[str, Any]]) -> Decision:
        """Decide a list of OpenAI-style messages, reading the turns that the artifact says."""
        return self.route(text_of_messages(messages, self.manifest.chat))

    def route_many(self, texts: Iterable[str]) -> list[Decision]:
        """Decide many queries; the answers stand in the order of the texts, batched by length inside.

        Raises:
            InputError: something that is not a string, or texts without an order (a set, a mapping).
            NonFiniteOutputError: the model answered NaN or infinity.
        """
        encodings = self._encoder.encode_many(texts)
        logits = self._run(encodings)
        calibration = self.manifest.calibration
        p_cloud = cloud_probability(logits, self.labels.cloud_index, calibration).tolist()
        return [self._decide(p, encoding) for p, encoding in zip(p_cloud, encodings, strict=True)]

    def route_stream(self, texts: Iterable[str], chunk: int = STREAM_CHUNK) -> Iterator[Decision]:
        """Decide any number of queries in constant memory, in order, `chunk` texts at a time.

        Raises:
            InputError: what `route_many` refuses, or a chunk under 1.
        """
        if not isinstance(chunk, int) or not 1 <= chunk <= sys.maxsize:
            raise InputError(f"chunk: expected a whole number of at least 1, found {chunk!r}.")
        iterator = iter(checked_texts(texts))
        while block := list(islice(iterator, chunk)):
            yield from self.route_many(block)

    def logits(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """The model's bare word: float32 (texts, 2), in the order of `labels`."""
        return self._run(self._encoder.encode_many(texts))

    def encode(self, texts: Iterable[str]) -> list[Encoding]:
        """The texts as the model reads them."""
        return self._encoder.encode_many(texts)

    def _run(self, encodings: Sequence[Encoding]) -> NDArray[np.float32]:
        logits = np.empty((len(encodings), len(self.labels.names)), dtype=np.float32)
        # The longest first: at the end only short batches are left, and no thread waits long for another.
        pad_id = self._encoder.pad_id
        batches = list(plan_batches([len(encoding.ids) for encoding in encodings]))[::-1]
        answers = self.scheduler.map(
            lambda batch: self.session.run(*pad([encodings[index].ids for index in batch], pad_id=pad_id)),
            batches,
        )
        for batch, answer in zip(batches, answers, strict=True):
            if answer.shape != (len(batch), logits.shape[1]):
                # One column would silently be copied into two.
                raise ArtifactError(
                    f"{self.artifact.path}: expected logits of shape {(len(batch), logits.shape[1])}, "
                    f"found {answer.shape}."
                )
            logits[batch] = answer
        return logits

    def _decide(self, p_cloud: float, encoding: Encoding) -> Decision:
        verdict = self.policy.decide(
            p_cloud, is_empty=encoding.is_empty, is_unreadable=encoding.is_unreadable
        )
        return Decision(
            target=verdict.target,
            label=verdict.label,
            confidence=verdict.confidence,
            p_cloud=p_cloud,
            reason=verdict.reason,
            tokens=len(encoding.ids),
            truncated=encoding.truncated,
        )


def has_to_be_optimized(manifest: Manifest, variant: str) -> bool:
    """Whether ONNX Runtime shall rewrite a variant's graph when it opens it.

    MobileBERT's int8 file is this project's own, node by node: there is nothing left to fuse in it.
    """
    return (manifest.model_type, variant) != ("mobilebert", "int8")


def effective_policy(shipped: Policy, settings: Settings) -> Policy:
    """The artifact's policy, overruled by what the settings say; see `Policy.overruled`."""
    return shipped.overruled(
        cloud_threshold=settings.cloud_threshold,
        confidence_threshold=settings.confidence_threshold,
        safe_target=settings.safe_target,
    )


def locate(artifact: str | Path | None, settings: Settings) -> Path:
    """What to open: the artifact, or else the settings' model path, or else the router that is shipped."""
    path = settings.model_path or shipped_artifact() if artifact is None else artifact
    if not isinstance(path, str | PathLike):
        raise SettingsError(f"expected the path or the address of an artifact, found {path!r}.")
    return Path(path)


def _limits(manifest: Manifest, settings: Settings) -> Limits:
    if settings.max_tokens is None:
        return manifest.limits
    if settings.max_tokens > manifest.limits.max_tokens:
        raise SettingsError(
            f"BERT_MAX_SEQUENCE_LENGTH: the artifact reads at most {manifest.limits.max_tokens} tokens, "
            f"found {settings.max_tokens}."
        )
    return replace(manifest.limits, max_tokens=settings.max_tokens)
