"""A recipe and data in, a Hugging Face checkpoint directory out: exactly what `pointsman export` takes."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer

from pointsman.artifact.digest import digest_file
from pointsman.errors import CheckpointError, TrainingError
from pointsman.train.curves import draw_curves
from pointsman.train.data import Example, Split, load_split
from pointsman.train.hidden import HiddenTeacher
from pointsman.train.loop import Loop, Outcome, Targets, Trainee
from pointsman.train.recipe import Recipe
from pointsman.train.state import claim_directory, write_json
from pointsman.train.student import grown, load_student, new_student
from pointsman.train.teacher import EMBEDDING_SIZE, embed, opinions, shipped_encoder, soft_labels

Progress = Callable[[str], None]

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def distill(
    recipe: Recipe,
    data: Path,
    output: Path,
    *,
    base: str | None,
    threads: int,
    progress: Progress,
    teacher: Path | None = None,
) -> Path:
    """Train a student under the teacher; returns the checkpoint directory `output`/checkpoint.

    The run's state is kept in `output`: called again after an interrupt, it goes on.

    Args:
        recipe: every setting.
        data: directory that the recipe's globs start from.
        output: directory of the run.
        base: a hub name or directory to start from; None builds a new student.
        threads: of torch.
        progress: is told what happens.
        teacher: a classifier's checkpoint directory whose opinions are the soft labels; None takes a
            logistic regression on the encoder's vectors.

    Raises:
        CheckpointError: base or teacher cannot be used.
        DataError: the data cannot be used.
        TrainingError: training cannot start, or cannot go on.
    """
    torch.set_num_threads(threads)
    encoder = shipped_encoder()
    split = load_split(recipe, data)
    tell(split, progress)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    claim_directory(
        output, {**_settings(recipe), "base": base, "teacher": teacher, "rows": split.report.rows}
    )
    source = Source(recipe, encoder, teacher, output / "cache")
    train = _targets(split.train, source, progress)
    validation = _targets(split.validation, source, progress)
    depth = recipe.student.depth
    torch.manual_seed(recipe.seed)
    student = grown(load_student(base), depth) if base else new_student(depth, encoder, recipe.seed)
    if base:
        _refuse_other_words(base, tokenizer)
    student.config.earlier_turns = recipe.student.earlier_turns
    with_states = recipe.loss.hidden > 0.0
    loop = Loop(
        recipe,
        Trainee(student, EMBEDDING_SIZE, with_states=with_states),
        tokenizer,
        (split.train, train),
        (split.validation, validation),
        output / "state",
        progress,
        HiddenTeacher(encoder, depth) if with_states else None,
    )
    outcome = loop.run()
    record = {**_record(recipe, split, outcome), "base": _named(base), "teacher": _named(teacher)}
    checkpoint = save_checkpoint(output / "checkpoint", student, encoder, outcome, record)
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


@dataclass(frozen=True, slots=True)
class Source:
    """Where targets come from: the recipe, the encoder, the classifier (or None), and the cache."""

    recipe: Recipe
    encoder: Path
    classifier: Path | None
    cache: Path


def _targets(examples: Sequence[Example], source: Source, progress: Progress) -> Targets:
    loss, limits = source.recipe.loss, {"max_tokens": source.recipe.student.max_tokens, "batch_tokens": 8192}
    vectors = np.empty((0, EMBEDDING_SIZE), np.float16)
    if loss.embedding > 0.0 or source.classifier is None:
        unique = list(dict.fromkeys(e.query for e in examples))
        found = embed(unique, source.encoder, source.cache, **limits, progress=progress)
        row = {query: index for index, query in enumerate(unique)}
        vectors = found[[row[e.query] for e in examples]]
    if source.classifier is None:
        soft = soft_labels(examples, vectors, source.recipe.seed)
    else:
        asked = list(dict.fromkeys(e.query for e in examples if e.is_measured))
        said = opinions(asked, source.classifier, source.cache, **limits, progress=progress)
        opinion = dict(zip(asked, said, strict=True))
        soft = np.array([opinion.get(e.query, 0.5) for e in examples], np.float32)
    known = np.array([np.nan if e.p_cloud is None else e.p_cloud for e in examples], np.float32)
    share = np.array([loss.teacher_share if e.is_measured else 0.0 for e in examples], np.float32)
    mixed = (1.0 - share) * known + share * soft
    return Targets(vectors if loss.embedding > 0.0 else None, mixed.astype(np.float32))


def save_checkpoint(
    directory: Path, student: Any, tokenizer_from: Path, outcome: Outcome, record: dict[str, Any]
) -> Path:
    """Write config, weights (safetensors, float16), tokenizer and run record; whole or not at all.

    Raises:
        TrainingError: the disk refused.
    """
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        # The base's path belongs to this machine alone.
        own = {"_name_or_path": "", "architectures": [type(student).__name__], "dtype": "float16"}
        config = {**student.config.to_dict(), **own}
        (partial / "config.json").write_text(
            json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )
        weights = {
            name.removeprefix("student."): value.to(torch.float16).contiguous()
            for name, value in outcome.weights.items()
            if name.startswith("student.")
        }
        save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
        for name in _TOKENIZER_FILES:
            if (tokenizer_from / name).is_file():
                shutil.copyfile(tokenizer_from / name, partial / name)
        write_json(partial / "training.json", record)
        shutil.rmtree(directory, ignore_errors=True)
        partial.rename(directory)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise TrainingError(f"cannot write {directory}: {error.strerror}. The run's state is kept.") from None
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


def _settings(recipe: Recipe) -> dict[str, Any]:
    return {k: v for k, v in asdict(recipe).items() if k != "directory"}


def _named(model: str | Path | None) -> dict[str, str] | None:
    """A model by its name, and by the digest of its weights where they lie here."""
    if model is None:
        return None
    weights = Path(model) / "model.safetensors"
    return {
        "name": Path(model).name if weights.is_file() else str(model),
        **({"sha256": digest_file(weights).sha256} if weights.is_file() else {}),
    }


def _record(recipe: Recipe, split: Split, outcome: Outcome) -> dict[str, Any]:
    return {
        "recipe": _settings(recipe),
        "examples": {"train": len(split.train), "validation": len(split.validation)},
        "rows": split.report.rows,
        "bad_rows": len(split.report.bad),
        "near_duplicates_left_out": split.report.leaked,
        "steps": outcome.steps,
        "minutes": round(outcome.seconds / 60.0, 1),
        "stopped_early": outcome.stopped_early,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "history": outcome.history,
    }
