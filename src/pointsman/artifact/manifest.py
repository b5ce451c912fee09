"""The manifest: what an artifact is, what it may be trusted for, and where it came from.

A manifest is read strictly: another schema version, an unknown key or a missing one is an error, and
the names of its files cannot leave the artifact. Its last key is the SHA-256 of the rest of its text, so a
manifest that was altered by a single bit is refused. What is inside the ONNX files is not its business.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any, Self

from pointsman.artifact.digest import FileDigest, artifact_id, digest_bytes
from pointsman.artifact.layout import VARIANTS
from pointsman.artifact.strict_json import forbidden_character, parse_strict
from pointsman.errors import ManifestError, PointsmanError
from pointsman.labels import LabelSet
from pointsman.policy import Policy

SCHEMA = 1
CALIBRATION_METHODS = ("temperature", "platt")

_SCRIPT = re.compile("[A-Z]{1,40}")
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a text the model reads.

    Attributes:
        max_tokens: tokens with the two special ones; longer texts are truncated.
        max_chars: characters looked at at all; it bounds the tokenizer's time on hostile input.
    """

    max_tokens: int
    max_chars: int

    def __post_init__(self) -> None:
        whole = _is_whole(self.max_tokens) and _is_whole(self.max_chars)
        if not whole or self.max_tokens < 2 or self.max_chars < self.max_tokens:
            raise ManifestError(f"limits: expected 2 <= max_tokens <= max_chars, found {asdict(self)}.")


@dataclass(frozen=True, slots=True)
class Calibration:
    """`p_cloud = sigmoid(a * (logit_cloud - logit_local) + b)`, fitted on held-out data.

    Attributes:
        method: `temperature` (b is 0) or `platt`.
        a: slope, above 0.
        b: offset.
    """

    method: str
    a: float
    b: float
    data_sha256: str
    n: int

    def __post_init__(self) -> None:
        if self.method not in CALIBRATION_METHODS:
            raise ManifestError(
                f"calibration.method: expected one of {CALIBRATION_METHODS}, found {self.method!r}."
            )
        if not _is_finite(self.a) or not self.a > 0:
            raise ManifestError(f"calibration.a: expected a number above 0, found {self.a!r}.")
        if not _is_finite(self.b):
            raise ManifestError(f"calibration.b: expected a finite number, found {self.b!r}.")
        if not isinstance(self.data_sha256, str) or not _is_whole(self.n):
            raise ManifestError("calibration: expected data_sha256 as a text and n as a whole number.")


@dataclass(frozen=True, slots=True)
class Chat:
    """Which text of a list of messages is classified: part of the model's contract.

    Attributes:
        earlier_turns: how many user messages before the last one are read with it, at least 0.
        last_first: the last message is read first, so that a long earlier one cannot push it out of the
            tokens that are read, and a mark parts the messages; otherwise the oldest is read first.
    """

    earlier_turns: int = 0
    last_first: bool = False

    def __post_init__(self) -> None:
        if not _is_whole(self.earlier_turns) or self.earlier_turns < 0:
            raise ManifestError(f"chat.earlier_turns: expected at least 0, found {self.earlier_turns!r}.")
        if not isinstance(self.last_first, bool):
            raise ManifestError(f"chat.last_first: expected true or false, found {self.last_first!r}.")

    def to_dict(self) -> dict[str, Any]:
        """As plain values, without the older order's name, so that older artifacts keep their id."""
        return asdict(self) if self.last_first else {"earlier_turns": self.earlier_turns}


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that is known about an artifact.

    Attributes:
        model_type: the Hugging Face architecture, for example `mobilebert`.
        labels: class names in the order of the logits.
        limits: how much of a text is read.
        policy: the thresholds that it was shipped with.
        calibration: how logits become probabilities; None for a plain softmax.
        chat: which text of a chat is classified.
        variants: variant name to ONNX file, for example `int8` to `onnx/model_quantized.onnx`.
        default_variant: the variant that a router runs unless told otherwise.
        opsets: ONNX file to opset domains and versions, read back from the file.
        conversion: what was folded, fused, quantized and refused, with reasons.
        provenance: checkpoint digest, package versions, time (UTC).
        files: file name to digest, for every file but the manifest itself.
        scripts: that the model reads, as Unicode names them (`LATIN`); a text mostly of others is unreadable.
            None of them: every text counts as readable.
    """

    name: str
    model_type: str
    labels: LabelSet
    limits: Limits
    policy: Policy
    calibration: Calibration | None
    chat: Chat
    variants: Mapping[str, str]
    default_variant: str
    opsets: Mapping[str, Mapping[str, int]]
    conversion: Mapping[str, Any]
    parity: Mapping[str, Any]
    provenance: Mapping[str, Any]
    files: Mapping[str, FileDigest] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("name", "model_type"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.isprintable():
                found = repr(value) if isinstance(value, str) else type(value).__name__
                raise ManifestError(f"{name}: expected a text of printable characters, found {found}.")
        for name in ("variants", "opsets", "conversion", "parity", "provenance"):
            if not isinstance(getattr(self, name), Mapping):
                raise ManifestError(f"{name}: expected a table, found {type(getattr(self, name)).__name__}.")
        if not all(isinstance(script, str) and _SCRIPT.fullmatch(script) for script in self.scripts):
            raise ManifestError(f"scripts: expected names such as 'LATIN', found {list(self.scripts)!r}.")
        if not all(isinstance(file, str) for file in self.variants.values()):
            raise ManifestError(f"variants: expected names of files, found {dict(self.variants)!r}.")
        unknown = sorted(set(self.variants) - set(VARIANTS))
        if unknown or not self.variants:
            raise ManifestError(
                f"variants: expected some of {sorted(VARIANTS)}, found {sorted(self.variants)}."
            )
        if self.default_variant not in self.variants:
            raise ManifestError(
                f"default_variant: expected one of {sorted(self.variants)}, found {self.default_variant!r}."
            )
        for name, digest in self.files.items():
            if not _stays_inside(name):
                raise ManifestError(f"files: {name!r} leaves the artifact. Do not use this artifact.")
            if not _is_whole(digest.size_bytes) or not _SHA256.fullmatch(str(digest.sha256)):
                raise ManifestError(f"files: {name!r} has no usable size and sha256. Fetch it again.")
        if self.files:
            missing = sorted(set(self.variants.values()) - set(self.files))
            if missing:
                raise ManifestError(f"files: {missing} is a variant's file, but is not listed.")

    @property
    def id(self) -> str:
        """The artifact's identity: 64 hexadecimal digits over the files and what the manifest says of them.

        Times and version strings do not count: the same files with the same rules are the same artifact.
        """
        rules = json.dumps(
            {key: value for key, value in self.to_dict().items() if key in _IDENTITY}, sort_keys=True
        ).encode()
        return artifact_id({**self.files, "": digest_bytes(rules)})

    def to_dict(self) -> dict[str, Any]:
        """The manifest as plain values, ready for JSON."""
        return {
            "schema": SCHEMA,
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "labels": list(self.labels.names),
            "limits": asdict(self.limits),
            "policy": asdict(self.policy),
            "calibration": asdict(self.calibration) if self.calibration else None,
            "chat": self.chat.to_dict(),
            "files": {name: asdict(digest) for name, digest in sorted(self.files.items())},
            "scripts": list(self.scripts),
        }

    def to_json(self) -> str:
        """The manifest as the text of `manifest.json`; its last key is the digest of all other text."""
        rest = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        return _sealed(rest, hashlib.sha256(rest.encode()).hexdigest())

    @property
    def sha256(self) -> str:
        """The digest that `manifest.json` carries of its own text, 64 hexadecimal digits."""
        return str(json.loads(self.to_json())["sha256"])

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read the text of a `manifest.json`.

        Raises:
            ManifestError: not JSON, another schema version, or a value that is not understood.
        """
        data = _parsed(text)
        try:
            calibration = data["calibration"]
            known = {
                **{f.name: data[f.name] for f in fields(cls)},
                "labels": LabelSet(tuple(data["labels"])),
                "limits": Limits(**data["limits"]),
                "policy": Policy(**data["policy"]),
                "calibration": Calibration(**calibration) if calibration is not None else None,
                "chat": Chat(**data["chat"]),
                "files": {name: FileDigest(**digest) for name, digest in data["files"].items()},
                "scripts": tuple(data["scripts"]),
            }
            unknown = sorted(set(data) - set(known) - {"schema", "sha256"})
            if unknown:
                raise ManifestError(f"manifest.json: unknown keys {unknown}.")
            made = cls(**known)
            forbidden = forbidden_character(data)
            if forbidden is not None:
                raise ManifestError(f"manifest.json: a text holds the character {forbidden!r}.")
            _check_seal(text, data["sha256"])
        except ManifestError:
            raise
        except PointsmanError as error:
            raise ManifestError(f"manifest.json: {error}") from None
        except KeyError as error:
            raise ManifestError(f"manifest.json: {error} is missing. Export it again.") from None
        except (TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ManifestError(f"manifest.json is not understood: {error}. Export it again.") from None
        return made


def _parsed(text: str | bytes) -> dict[str, Any]:
    """The JSON object, of this schema version."""
    try:
        data = parse_strict(text, surrogates=True)
    except ValueError as error:
        raise ManifestError(
            f"manifest.json is not readable JSON: {error}. Fetch or export it again."
        ) from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else type(data).__name__
        raise ManifestError(f"manifest.json: expected schema {SCHEMA}, found {found!r}. Export it again.")
    return data


_IDENTITY = (
    "schema", "labels", "limits", "policy", "calibration", "chat", "scripts", "variants", "default_variant",
)  # fmt: skip


def _sealed(rest: str, digest: str) -> str:
    """The JSON text of an object with a last key more."""
    return f'{rest.removesuffix("}").rstrip()},\n  "sha256": "{digest}"\n}}\n'


def _check_seal(text: str | bytes, digest: object) -> None:
    """Raise ManifestError where a manifest's text is not what its digest was made of."""
    found = text.encode() if isinstance(text, str) else text
    tail = _sealed("{}", str(digest)).removeprefix("{").encode()
    rest = found.removesuffix(tail) + b"\n}"
    if not found.endswith(tail) or hashlib.sha256(rest).hexdigest() != digest:
        raise ManifestError(
            "manifest.json was altered after it was made: its text does not have its own sha256. "
            "Fetch or export it again."
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    """Python's JSON reads NaN and Infinity, and `1e999` as infinity; no probability comes of those."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _stays_inside(name: str) -> bool:
    """Whether a file's name is a plain relative path, the same on every system."""
    path = PurePosixPath(name)
    strange = any(c in "\\:" or not c.isprintable() for c in name)
    return (
        bool(path.parts) and str(path) == name and not (path.is_absolute() or ".." in path.parts or strange)
    )
