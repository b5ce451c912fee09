"""Settings with one precedence: argument or flag, environment, `.env` in the working directory, default.

An argument that is None was not given. The four `BERT_*` names are those of the conversion guide
that pointsman implements; the others are ours.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dotenv import dotenv_values

from pointsman.errors import SettingsError
from pointsman.labels import checked_target

MODEL_PATH = "BERT_MODEL_PATH"
MODEL_FULLPATH = "BERT_MODEL_FULLPATH"
MAX_SEQUENCE_LENGTH = "BERT_MAX_SEQUENCE_LENGTH"
CONFIDENCE_THRESHOLD = "BERT_CONFIDENCE_THRESHOLD"
CLOUD_THRESHOLD = "POINTSMAN_CLOUD_THRESHOLD"
SAFE_TARGET = "POINTSMAN_SAFE_TARGET"
THREADS = "POINTSMAN_THREADS"


def effective_environment(
    environ: Mapping[str, str] | None = None, dotenv: Path | None = None
) -> dict[str, str]:
    """The environment over the `.env` file; an empty value counts as not set.

    Args:
        environ: the process environment; None reads `os.environ`.
        dotenv: the `.env` file; None means the one in the working directory, if there is one.
    """
    path = Path(".env") if dotenv is None else dotenv
    from_file = dotenv_values(path) if path.is_file() else {}
    merged = {**from_file, **(os.environ if environ is None else environ)}
    return {name: value for name, value in merged.items() if value}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says about routing; None where it says nothing.

    Attributes:
        model_path: an artifact or a checkpoint directory. `BERT_MODEL_FULLPATH` wins over `BERT_MODEL_PATH`.
        max_tokens: at most this many tokens are read, at least 2.
        confidence_threshold: see `Policy`, 0..1.
        cloud_threshold: see `Policy`, 0..1.
        safe_target: see `Policy`, `local` or `cloud`.
        threads: intra-op threads of the model, at least 1.
    """

    model_path: Path | None = None
    max_tokens: int | None = None
    confidence_threshold: float | None = None
    cloud_threshold: float | None = None
    safe_target: str | None = None
    threads: int | None = None

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = None) -> Self:
        """Read the environment and `.env`.

        Raises:
            SettingsError: a value that is not understood; the name, what was expected and what was found.
        """
        values = effective_environment(environ, dotenv)
        path = values.get(MODEL_FULLPATH) or values.get(MODEL_PATH)
        safe_target = values.get(SAFE_TARGET)
        return cls(
            model_path=Path(path) if path else None,
            max_tokens=_integer(values, MAX_SEQUENCE_LENGTH, at_least=2),
            confidence_threshold=_share(values, CONFIDENCE_THRESHOLD),
            cloud_threshold=_share(values, CLOUD_THRESHOLD),
            safe_target=checked_target(safe_target, SAFE_TARGET) if safe_target else None,
            threads=_integer(values, THREADS, at_least=1),
        )


def _integer(values: Mapping[str, str], name: str, *, at_least: int) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    if not text.strip().isdecimal() or int(text) < at_least:
        raise SettingsError(f"{name}: expected a whole number of at least {at_least}, found {text!r}.")
    return int(text)


def _share(values: Mapping[str, str], name: str) -> float | None:
    text = values.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise SettingsError(f"{name}: expected a number from 0 to 1, found {text!r}.")
    return value
