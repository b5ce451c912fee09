"""Settings with one precedence: argument or flag, environment, `.env` in the working directory, default.

An argument that is None was not given. The four `BERT_*` names are those of the conversion guide
that pointsman implements; the others are ours.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pointsman.errors import SettingsError
from pointsman.labels import checked_target

MODEL_PATH = "BERT_MODEL_PATH"
MODEL_FULLPATH = "BERT_MODEL_FULLPATH"
MAX_SEQUENCE_LENGTH = "BERT_MAX_SEQUENCE_LENGTH"
CONFIDENCE_THRESHOLD = "BERT_CONFIDENCE_THRESHOLD"
CLOUD_THRESHOLD = "POINTSMAN_CLOUD_THRESHOLD"
SAFE_TARGET = "POINTSMAN_SAFE_TARGET"
THREADS = "POINTSMAN_THREADS"

_MAX_DIGITS = 9
_MAX_SHOWN = 60


def effective_environment(
    environ: Mapping[str, str] | None = None, dotenv: Path | None = None
) -> dict[str, str]:
    """The environment over the `.env` file; an empty value counts as not set.

    Args:
        environ: the process environment; None reads `os.environ`.
        dotenv: the `.env` file; None means the one in the working directory, if there is one.

    Raises:
        SettingsError: the `.env` file cannot be read, or is not UTF-8.
    """
    path = Path(".env") if dotenv is None else dotenv
    try:
        from_file = _read_dotenv(path) if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected a readable file in UTF-8, found: {error}.") from None
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
        threads: runs of the model side by side, each on one thread; at least 1.
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
        return cls(
            model_path=Path(path) if path else None,
            max_tokens=whole_number(values.get(MAX_SEQUENCE_LENGTH), MAX_SEQUENCE_LENGTH, at_least=2),
            confidence_threshold=_share(values.get(CONFIDENCE_THRESHOLD), CONFIDENCE_THRESHOLD),
            cloud_threshold=_share(values.get(CLOUD_THRESHOLD), CLOUD_THRESHOLD),
            safe_target=_target(values.get(SAFE_TARGET), SAFE_TARGET),
            threads=whole_number(values.get(THREADS), THREADS, at_least=1),
        )

    def overruled(
        self,
        *,
        max_tokens: str | None = None,
        confidence_threshold: str | None = None,
        cloud_threshold: str | None = None,
        safe_target: str | None = None,
        threads: str | None = None,
    ) -> Self:
        """These settings with the flags of a command line over them; None means a flag that was not given.

        Raises:
            SettingsError: a flag's value that is not understood.
        """
        given = {
            "max_tokens": whole_number(max_tokens, "--max-length", at_least=2),
            "confidence_threshold": _share(confidence_threshold, "--confidence-threshold"),
            "cloud_threshold": _share(cloud_threshold, "--cloud-threshold"),
            "safe_target": _target(safe_target, "--safe-target"),
            "threads": whole_number(threads, "--threads", at_least=1),
        }
        return replace(self, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


def _read_dotenv(path: Path) -> dict[str, str | None]:
    # Here and not above: most processes have no such file, and need not wait for its parser.
    from dotenv import dotenv_values

    return dotenv_values(path)


def _target(text: str | None, name: str) -> str | None:
    return None if text is None else checked_target(text, name)


def whole_number(text: str | None, name: str, *, at_least: int) -> int | None:
    """A setting's text as a whole number; None where it was not given.

    Raises:
        SettingsError: it is no number, or too small; `name` says which setting.
    """
    if text is None:
        return None
    digits = text.strip()
    # Python refuses to read thousands of digits, with an error of its own.
    if not digits.isdecimal() or len(digits) > _MAX_DIGITS or int(digits) < at_least:
        raise SettingsError(f"{name}: expected a whole number of at least {at_least}, found {_shown(text)}.")
    return int(digits)


def _share(text: str | None, name: str) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise SettingsError(f"{name}: expected a number from 0 to 1, found {_shown(text)}.")
    return value


def _shown(text: str) -> str:
    """A value for a message, cut where it is long: a message stays one line."""
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…")
