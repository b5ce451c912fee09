"""What every step of an export reads: the checkpoint, what is asked for, and the texts of the proof."""

from dataclasses import dataclass
from pathlib import Path

from pointsman.artifact.layout import TOKENIZER
from pointsman.artifact.manifest import Limits
from pointsman.convert.checkpoint import Checkpoint, read_checkpoint
from pointsman.convert.options import ExportOptions
from pointsman.convert.tokenizer import artifact_tokenizer
from pointsman.datasets.reading import calibration_queries, project_queries, read_texts
from pointsman.errors import CheckpointError, ConversionError, InputError
from pointsman.evaluation.parity import spread_lengths
from pointsman.progress import Progress
from pointsman.runtime.tokenize import TextEncoder

CHARS_PER_TOKEN = 50
"""Characters looked at per token that is read: enough for any text, little enough for any attack."""

_MADE_LENGTHS = "made of tokens of the texts above, "


@dataclass(frozen=True, slots=True)
class ProofTexts:
    """The texts that an export is proved on and calibrated on; the two sets share no text.

    Attributes:
        texts: to prove on: real ones first, then one of every length.
        calibration_tokens: of other texts, to calibrate int8 on.
        pad_id: what fills a batch up.
        made: how many of the texts, at the end, are made of tokens of the others.
    """

    texts: list[str]
    tokens: list[list[int]]
    calibration_tokens: list[list[int]]
    pad_id: int
    made: int

    @property
    def lengths(self) -> list[int]:
        """Tokens of the real texts."""
        return [len(ids) for ids in self.tokens[: len(self.tokens) - self.made]]


@dataclass(frozen=True, slots=True)
class ExportInputs:
    """The inputs of an export; `progress` is told each step in one line."""

    checkpoint: Checkpoint
    limits: Limits
    proof: ProofTexts
    options: ExportOptions
    progress: Progress

    @property
    def name(self) -> str:
        """Of the artifact."""
        return self.options.name or self.checkpoint.path.resolve().name


def read_inputs(checkpoint_path: Path, options: ExportOptions, progress: Progress) -> ExportInputs:
    """Read a checkpoint and the texts.

    Raises:
        CheckpointError: the checkpoint cannot be read or trusted, or cannot read texts of the asked length.
        ConversionError: the artifact's name is not printable.
        DataError: a file of the user's is missing, unreadable or empty.
    """
    checkpoint = read_checkpoint(checkpoint_path, options.labels)
    limits = _limits(checkpoint, options)
    progress(f"checkpoint: {checkpoint.model_type}, labels {', '.join(checkpoint.labels.names)}")
    if checkpoint.prefix:
        progress(f"checkpoint: every tensor's name begins with {checkpoint.prefix!r}; read without it")
    inputs = ExportInputs(checkpoint, limits, proof_texts(checkpoint, limits, options), options, progress)
    if not inputs.name.isprintable():
        raise ConversionError(
            f"name: expected a text of printable characters, found {inputs.name!r}. Give another: --name"
        )
    return inputs


def _limits(checkpoint: Checkpoint, options: ExportOptions) -> Limits:
    longest = checkpoint.max_positions
    if options.max_tokens < 2 or (longest is not None and options.max_tokens > longest):
        raise CheckpointError(
            f"max length {options.max_tokens}: expected 2..{longest or 'the model limit'} tokens "
            "for this checkpoint."
        )
    if options.shape.sequence is not None and options.shape.sequence < options.max_tokens:
        raise CheckpointError(
            f"max length {options.max_tokens} with a fixed shape of {options.shape.sequence} tokens: the "
            f"file could not read such a text. Ask for a max length of {options.shape.sequence}, or a "
            "longer shape."
        )
    return Limits(options.max_tokens, options.max_tokens * CHARS_PER_TOKEN)


def proof_texts(checkpoint: Checkpoint, limits: Limits, options: ExportOptions) -> ProofTexts:
    """Read both sets and encode them with the checkpoint's tokenizer and the artifact's limits.

    Raises:
        CheckpointError: a tokenizer that cannot read them.
        DataError: a file of the user's is missing, unreadable or empty.
    """
    tokenizer = artifact_tokenizer(checkpoint.path / TOKENIZER, limits, checkpoint.pad_token_id)
    encoder = TextEncoder(tokenizer.encode(), limits)
    texts = read_texts(options.queries_file) if options.queries_file else project_queries()
    calibration = read_texts(options.calibration_file) if options.calibration_file else calibration_queries()
    try:
        tokens, calibration_tokens = (
            [e.ids for e in encoder.encode_many(some)] for some in (texts, calibration)
        )
    except InputError as error:
        raise CheckpointError(f"{checkpoint.path / TOKENIZER}: {error}") from None
    lengths = spread_lengths(tokens, limits.max_tokens)
    named = [f"({_MADE_LENGTHS}{len(made)} of them)" for made in lengths]
    return ProofTexts(
        [*texts, *named],
        [*tokens, *lengths],
        calibration_tokens,
        checkpoint.pad_token_id,
        len(named),
    )
