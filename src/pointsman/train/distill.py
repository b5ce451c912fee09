"""A recipe and data in, a Hugging Face checkpoint directory out: exactly what `pointsman export` takes."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer

from pointsman import __version__
from pointsman.artifact.digest import digest_file
from pointsman.checkpoint.torch_word_experts import word_experts_of
from pointsman.datasets.duplicates import SKETCH, row_sketch
from pointsman.datasets.outcomes import check_count
from pointsman.datasets.rows import COLUMNS, Columns
from pointsman.errors import CheckpointError
from pointsman.progress import Progress
from pointsman.train.batches import encode
from pointsman.train.curves import draw_curves
from pointsman.train.loop import Loop, Outcome
from pointsman.train.precision import tiny_as_zero
from pointsman.train.recipe import Recipe
from pointsman.train.split import Split, load_split
from pointsman.train.state import claim_directory, content_of, content_of_model, replaced, write_json
from pointsman.train.student import load_student, new_student, resized
from pointsman.train.targets import Source, held_out_targets, training_targets
from pointsman.train.teacher import EMBEDDING_SIZE, encoder_directory, shipped_encoder
from pointsman.train.trainee import Trainee, fit_projection
from pointsman.train.word_experts import put_beside

_PROJECTION_TEXTS = 2048
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


@dataclass(frozen=True, slots=True)
class Distillation:
    """Everything that decides a run.

    Attributes:
        data: directory that the recipe's globs start from.
        base: a hub name or directory to start from; None builds a new student.
        teacher: a classifier's checkpoint directory whose opinions are the soft labels, or half of each where
            the recipe has experts; None takes the experts, or a logistic regression on the encoder's vectors.
        encoders: directories or hub names of more sentence encoders that the experts read.
        cache: directory of the teacher's answers, shared between runs; None is `output`/cache.
    """

    recipe: Recipe
    data: Path
    output: Path
    base: str | None = None
    teacher: Path | None = None
    encoders: tuple[str, ...] = ()
    cache: Path | None = None
    columns: Columns = COLUMNS

    def source(self) -> Source:
        """Where the targets come from."""
        encoders = (shipped_encoder(), *map(encoder_directory, self.encoders))
        return Source(self.recipe, encoders, self.teacher, self.cache or self.output / "cache")


def distill(plan: Distillation, *, threads: int, progress: Progress) -> Path:
    """Train a student under the teacher; returns the checkpoint directory `output`/checkpoint.

    A recipe of word experts fits those alone. Called again after an interrupt, a run goes on.

    Raises:
        CheckpointError: base or teacher cannot be used.
        DataError: the data cannot be used.
        TrainingError: training cannot start, or cannot go on.
    """
    torch.set_num_threads(threads)
    recipe = plan.recipe
    split = load_split(recipe, plan.data, plan.columns)
    tell(split, progress)
    if recipe.word_experts.strength:
        return put_beside(plan.base, recipe, split, plan.output)
    tokenizer = AutoTokenizer.from_pretrained(shipped_encoder())
    if plan.base:
        _refuse_other_words(plan.base, tokenizer)
    settings = {**_settings(recipe), "base": plan.base, "teacher": plan.teacher}
    identity = {**run_identity(split, plan.base), "teacher_sha256": content_of_model(plan.teacher)}
    claim_directory(plan.output, {**settings, **identity})
    source = plan.source()
    train = training_targets(split.train, source, progress)
    validation = held_out_targets(split.validation, source, progress)
    trainee = Trainee(_student(plan), EMBEDDING_SIZE, train.subject_count)
    if plan.base and train.vectors is not None:
        known = np.flatnonzero(train.vectors.any(1))
        some = known[:: max(1, len(known) // _PROJECTION_TEXTS)]
        ids = encode(tokenizer, [split.train[i].query for i in some], recipe.student.max_tokens)
        fit_projection(trainee, ids, train.vectors[some])
    parts = (split.train, train), (split.validation, validation)
    loop = Loop(recipe, trainee, tokenizer, *parts, plan.output / "state", progress)
    facts = {"recipe": _settings(recipe), "base": _named(plan.base), "teacher": _named(plan.teacher)}
    return run_and_save(loop, split, shipped_encoder(), plan.output, facts)


def _student(plan: Distillation) -> Any:
    """The base cut or grown to the recipe's depth, or a new network."""
    student_of, seed = plan.recipe.student, plan.recipe.seed
    torch.manual_seed(seed)
    if plan.base:
        student = resized(load_student(plan.base), student_of.depth)
    else:
        student = new_student(student_of.depth, shipped_encoder(), seed)
    student.config.earlier_turns = student_of.earlier_turns
    student.config.last_turn_first = student_of.chat.last_first
    return student


def run_and_save(loop: Loop, split: Split, tokenizer_from: Path, output: Path, facts: dict[str, Any]) -> Path:
    """Train, then write the checkpoint with its record, and the curves; returns the checkpoint."""
    with tiny_as_zero():
        outcome = loop.run()
    record = {**facts, **run_record(split, outcome)}
    student = loop.trainee.student
    checkpoint = save_checkpoint(output / "checkpoint", student, tokenizer_from, outcome, record)
    draw_curves(outcome.history, output / "curves.png")
    return checkpoint


def _refuse_other_words(base: str, tokenizer: Any) -> None:
    """A student reads the encoder's tokens, so both must mean the same words by them.

    Raises:
        CheckpointError: the base has another vocabulary.
    """
    try:
        words = AutoTokenizer.from_pretrained(base).get_vocab()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"base {base!r} has no usable tokenizer: {error}") from None
    if words != tokenizer.get_vocab():
        raise CheckpointError(
            f"base {base!r} has another vocabulary than the encoder that teaches it "
            f"({len(words)} tokens, {len(tokenizer.get_vocab())} expected)."
        )


def save_checkpoint(
    directory: Path, student: Any, tokenizer_from: Path, outcome: Outcome, record: dict[str, Any]
) -> Path:
    """Write config, weights (float16), word experts, tokenizer and run record; whole or not at all.

    Raises:
        TrainingError: the disk refused.
    """
    # The base's path belongs to this machine alone. The weights are rounded to float16 on disk, and are
    # float32 wherever they are computed with: what transformers loads is what was exported.
    own = {"_name_or_path": "", "architectures": [type(student).__name__], "dtype": "float32"}
    config = {**student.config.to_dict(), **own}
    weights = {
        name.removeprefix("student."): value.to(torch.float16).contiguous()
        for name, value in outcome.weights.items()
        if name.startswith("student.")
    }
    with replaced(directory) as partial:
        (partial / "config.json").write_text(
            json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )
        save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
        if experts := word_experts_of(student):
            experts.write(partial)
        for name in _TOKENIZER_FILES:
            if (tokenizer_from / name).is_file():
                shutil.copyfile(tokenizer_from / name, partial / name)
        write_json(partial / "training.json", record)
    return directory


def tell(split: Split, progress: Progress) -> None:
    """Say what was read: rows by file, bad rows with file and line, near duplicates left out."""
    for name, count in split.report.rows.items():
        progress(f"data: {name}: {count:,} rows")
    for bad in split.report.bad[:20]:
        progress(f"data: bad row {bad}")
    progress(
        f"data: {len(split.train):,} to train on, {len(split.validation):,} held out, "
        f"{len(split.report.bad):,} bad rows, {split.report.leaked:,} near duplicates of held-out left out"
    )
    if warning := check_count(len({example.query for example in split.train}), "train on"):
        progress(f"data: {warning}")


def _settings(recipe: Recipe) -> dict[str, Any]:
    return {k: v for k, v in asdict(recipe).items() if k != "directory"}


def _named(model: str | Path | None) -> dict[str, str] | None:
    """A model by its name, and by the digest of its weights where they lie here."""
    if model is None:
        return None
    weights = Path(model) / "model.safetensors"
    digest = {"sha256": digest_file(weights).sha256} if weights.is_file() else {}
    return {"name": Path(model).name if digest else str(model), **digest}


def run_identity(split: Split, base: str | Path | None) -> dict[str, Any]:
    """What makes two runs of the same settings different ones: their data, their base, the versions."""
    return {
        "rows": split.report.rows,
        "data_sha256": content_of([*split.train, *split.validation]),
        "base_sha256": content_of_model(base),
        "versions": {"torch": torch.__version__, "pointsman": __version__},
    }


def run_record(split: Split, outcome: Outcome) -> dict[str, Any]:
    """What a checkpoint says of its training: examples, steps, time, history."""
    return {
        "examples": {"train": len(split.train), "validation": len(split.validation)},
        SKETCH: row_sketch(e.query for e in [*split.train, *split.validation]),
        "rows": split.report.rows,
        "bad_rows": len(split.report.bad),
        "near_duplicates_left_out": split.report.leaked,
        "steps": outcome.steps,
        "minutes": round(outcome.seconds / 60.0, 2),
        "stopped_early": outcome.stopped_early,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "history": outcome.history,
    }
