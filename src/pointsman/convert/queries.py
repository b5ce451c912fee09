"""The texts that an export calibrates on and is proved on; two sets that share no text."""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pointsman.artifact.layout import TOKENIZER
from pointsman.artifact.manifest import Limits
from pointsman.convert.checkpoint import Checkpoint
from pointsman.convert.options import ExportOptions
from pointsman.errors import DataError
from pointsman.evaluation.parity import spread_lengths
from pointsman.runtime.tokenize import TextEncoder

_MADE_LENGTHS = "made of tokens of the texts above, "


@dataclass(frozen=True, slots=True)
class ProofTexts:
    """Texts to prove on (real ones, and one of every length), their tokens, and tokens to calibrate on."""

    texts: list[str]
    tokens: list[list[int]]
    calibration_tokens: list[list[int]]


def proof_texts(checkpoint: Checkpoint, limits: Limits, options: ExportOptions) -> ProofTexts:
    """Read both sets and encode them with the checkpoint's tokenizer and the artifact's limits.

    Raises:
        DataError: a file of the user's is missing, unreadable or empty.
    """
    encoder = TextEncoder((checkpoint.path / TOKENIZER).read_bytes(), limits)
    texts = read_queries(options.queries_file) if options.queries_file else project_queries()
    calibration = (
        read_queries(options.calibration_file) if options.calibration_file else _calibration_queries()
    )
    tokens = [e.ids for e in encoder.encode_many(texts)]
    lengths = spread_lengths(tokens, limits.max_tokens)
    named = [f"({_MADE_LENGTHS}{len(made)} of them)" for made in lengths]
    return ProofTexts(
        [*texts, *named], [*tokens, *lengths], [e.ids for e in encoder.encode_many(calibration)]
    )


def project_queries() -> list[str]:
    """The project's own test queries: every kind of text that a router meets, written for it."""
    return _lines(
        files("pointsman.datasets").joinpath("queries.jsonl").read_text(encoding="utf-8"), "queries.jsonl"
    )


def _calibration_queries() -> list[str]:
    text = files("pointsman.datasets").joinpath("calibration.jsonl").read_text(encoding="utf-8")
    return _lines(text, "calibration.jsonl")


def read_queries(path: Path) -> list[str]:
    """Queries from a JSONL file with a `query` each, or from plain lines.

    Raises:
        DataError: missing, unreadable, empty, or a row without a query, with its line.
    """
    try:
        return _lines(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None


def _lines(text: str, where: str) -> list[str]:
    queries = [
        _query(line, f"{where}:{number}") for number, line in enumerate(text.split("\n"), 1) if line.strip()
    ]
    if not queries:
        raise DataError(f"{where}: expected at least one query, found none.")
    return queries


def _query(line: str, where: str) -> str:
    if not line.lstrip().startswith("{"):
        return line
    try:
        query = json.loads(line)["query"]
    except (ValueError, KeyError):
        raise DataError(f'{where}: expected {{"query": "..."}} or plain text.') from None
    if not isinstance(query, str):
        raise DataError(f"{where}: query: expected text, found {type(query).__name__}.")
    return query
