"""The texts that an export calibrates on and is proved on; two sets that share no text."""

from dataclasses import dataclass

from pointsman.artifact.layout import TOKENIZER
from pointsman.artifact.manifest import Limits
from pointsman.convert.checkpoint import Checkpoint
from pointsman.convert.options import ExportOptions
from pointsman.convert.tokenizer import artifact_tokenizer
from pointsman.datasets.reading import calibration_queries, project_queries, read_texts
from pointsman.evaluation.parity import spread_lengths
from pointsman.runtime.tokenize import TextEncoder

_MADE_LENGTHS = "made of tokens of the texts above, "


@dataclass(frozen=True, slots=True)
class ProofTexts:
    """What an export is calibrated and proved on.

    Attributes:
        texts: to prove on: real ones first, then one of every length.
        tokens: of the texts.
        calibration_tokens: of other texts, to calibrate int8 on.
        pad_id: what fills a batch up.
        made: how many of the texts, at the end, are made of tokens of the others.
    """

    texts: list[str]
    tokens: list[list[int]]
    calibration_tokens: list[list[int]]
    pad_id: int
    made: int


def proof_texts(checkpoint: Checkpoint, limits: Limits, options: ExportOptions) -> ProofTexts:
    """Read both sets and encode them with the checkpoint's tokenizer and the artifact's limits.

    Raises:
        DataError: a file of the user's is missing, unreadable or empty.
    """
    tokenizer = artifact_tokenizer(checkpoint.path / TOKENIZER, limits, checkpoint.pad_token_id)
    encoder = TextEncoder(tokenizer.encode(), limits)
    texts = read_texts(options.queries_file) if options.queries_file else project_queries()
    calibration = read_texts(options.calibration_file) if options.calibration_file else calibration_queries()
    tokens = [e.ids for e in encoder.encode_many(texts)]
    lengths = spread_lengths(tokens, limits.max_tokens)
    named = [f"({_MADE_LENGTHS}{len(made)} of them)" for made in lengths]
    return ProofTexts(
        [*texts, *named],
        [*tokens, *lengths],
        [e.ids for e in encoder.encode_many(calibration)],
        checkpoint.pad_token_id,
        len(named),
    )
