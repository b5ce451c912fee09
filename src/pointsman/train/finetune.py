"""Your own data files and a base in, a router checkpoint out.

A base is a checkpoint directory, a hub name, or `encoder`: the sentence encoder of the train extra with a
new two-way head, which makes a teacher rather than a router.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from pointsman.artifact.manifest import Chat
from pointsman.artifact.strict_json import parse_strict
from pointsman.datasets.duplicates import near_duplicate_key
from pointsman.datasets.outcomes import check_count
from pointsman.datasets.rows import COLUMNS, Columns
from pointsman.errors import CheckpointError, DataError, TrainingError
from pointsman.progress import Progress
from pointsman.train.data import Example, ReadReport, read_examples
from pointsman.train.distill import run_and_save, run_identity, tell
from pointsman.train.loop import Loop
from pointsman.train.recipe import Loss, Recipe, Schedule, Student
from pointsman.train.split import Split, held_out
from pointsman.train.state import claim_directory
from pointsman.train.student import load_student
from pointsman.train.teacher import shipped_encoder
from pointsman.train.trainee import Answer, Targets, Trainee

ENCODER = "encoder"

SCHEDULE = Schedule(
    epochs=6.0,
    batch_tokens=1024,
    learning_rate=1e-4,
    warmup_share=0.1,
    average=0.9,
    evaluations=12,
    patience=4,
)
"""What suits some hundreds to some ten thousands of rows on a base that is already a language model."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides a fine-tuning run.

    Attributes:
        files: data files; see `read_examples`.
        base: a checkpoint directory, a hub name, or `encoder`.
        output: directory of the run; the checkpoint is `output`/checkpoint.
        validation: data files to validate on; without any, `validation_share` of the rows is used.
        validation_share: 0.05..0.5.
        max_tokens: tokens read of a text, at least 8.
        earlier_turns: earlier user messages of a chat that are read, too, at least 0; None reads a chat as
            the base does, or the last message alone where it does not say.
        word_experts: the base's word experts stay as they are; False leaves them out.
        balance: rows of the rarer class are repeated until both are as many.
        edit_share: share of texts that are edited as they are read (typos, politeness), 0..1.
    """

    files: tuple[Path, ...]
    base: str
    output: Path
    validation: tuple[Path, ...] = ()
    validation_share: float = 0.15
    max_tokens: int = 128
    earlier_turns: int | None = None
    word_experts: bool = True
    balance: bool = True
    edit_share: float = 0.1
    columns: Columns = COLUMNS
    seed: int = 0
    schedule: Schedule = field(default=SCHEDULE)


class LabelTrainee(Trainee):
    """Any two-way sequence classifier, trained on labels alone."""

    def __init__(self, student: Any) -> None:
        """Take a classifier as it is; there is no projection to train."""
        torch.nn.Module.__init__(self)
        self.student = student

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Answer:
        """The margins; no vectors and no subjects (rows, 0)."""
        logits = self.student(input_ids=input_ids, attention_mask=attention_mask).logits
        return Answer(logits[:, 1] - logits[:, 0], logits[:, :0], logits[:, :0])


def finetune(plan: Plan, *, threads: int, progress: Progress) -> Path:
    """Train a base on labelled queries; returns the checkpoint directory.

    The run's state is kept in `plan.output`: called again after an interrupt, it goes on.

    Raises:
        DataError: the data cannot be used.
        CheckpointError: the base cannot be used.
        TrainingError: training cannot start, or cannot go on.
    """
    torch.set_num_threads(threads)
    split = split_rows(plan)
    tell(split, progress)
    source = str(shipped_encoder()) if plan.base == ENCODER else plan.base
    tokenizer = _tokenizer(source)
    torch.manual_seed(plan.seed)
    student = load_student(source, word_experts=plan.word_experts)
    _refuse_other_vocabulary(source, tokenizer, student)
    # Last: a base that cannot be used must not bind the directory.
    claim_directory(plan.output, {**_settings(plan), **run_identity(split, source)})
    chat = chat_of(plan)
    student.config.earlier_turns, student.config.last_turn_first = chat.earlier_turns, chat.last_first
    parts = (split.train, _targets(split.train)), (split.validation, _targets(split.validation))
    loop = Loop(_recipe(plan), LabelTrainee(student), tokenizer, *parts, plan.output / "state", progress)
    saved_tokenizer = plan.output / "tokenizer"
    tokenizer.save_pretrained(saved_tokenizer)
    return run_and_save(loop, split, saved_tokenizer, plan.output, _settings(plan))


def chat_of(plan: Plan) -> Chat:
    """How the plan reads a chat: as it says, or as the base was trained to."""
    if plan.earlier_turns is not None:
        return Chat(plan.earlier_turns, last_first=plan.earlier_turns > 0)
    config = Path(plan.base) / "config.json"
    try:
        known = parse_strict(config.read_bytes()) if config.is_file() else {}
        return Chat(known.get("earlier_turns", 0), known.get("last_turn_first", False))
    except (AttributeError, OSError, ValueError) as error:
        raise CheckpointError(f"{config} is not understood: {error}.") from None


def split_rows(plan: Plan) -> Split:
    """Read the plan's files and split them, near duplicates on one side; what would leak is left out.

    Raises:
        DataError: too few rows, or a part with one class only.
    """
    report = ReadReport()
    columns = replace(plan.columns, chat=chat_of(plan))
    examples = read_examples(plan.files, report, columns)
    if plan.validation:
        train, validation = examples, read_examples(plan.validation, report, columns)
    else:
        held = [held_out(e.query, plan.validation_share) for e in examples]
        train = [e for e, out in zip(examples, held, strict=True) if not out]
        validation = [e for e, out in zip(examples, held, strict=True) if out]
    keys = {near_duplicate_key(e.query) for e in validation}
    clean = [e for e in train if near_duplicate_key(e.query) not in keys]
    report.leaked = len(train) - len(clean)
    left_out = f" ({len(report.bad)} bad, {report.leaked} near duplicates of validation rows)"
    check_count(len(clean), "train on", left_out)
    for name, part in (("training", clean), ("validation", validation)):
        if len({e.p_cloud is not None and e.p_cloud >= 0.5 for e in part}) < 2:
            raise DataError(f"the {name} part ({len(part)} rows) has one class only; a router needs both.")
    return Split(balanced(clean, plan.seed) if plan.balance else clean, validation, report)


def balanced(examples: Sequence[Example], seed: int) -> list[Example]:
    """The examples, with those of the rarer class repeated until both are as many."""
    rng = random.Random(seed)
    sides: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        sides[int((example.p_cloud or 0.0) >= 0.5)].append(example)
    rare, common = sorted(sides, key=len)
    whole, rest = divmod(len(common), max(1, len(rare)))
    return [*common, *rare * whole, *rng.sample(rare, rest)] if rare else list(common)


def _targets(examples: Sequence[Example]) -> Targets:
    return Targets(None, np.array([e.p_cloud for e in examples], np.float32))


def _tokenizer(source: str) -> Any:
    directory = Path(source)
    # transformers would make an empty tokenizer of a directory that has none.
    if directory.is_dir() and not any((directory / n).is_file() for n in ("tokenizer.json", "vocab.txt")):
        raise CheckpointError(f"base {source!r} has neither tokenizer.json nor vocab.txt.")
    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        what = "has no usable tokenizer" if directory.is_dir() else "is no directory, nor a name on the Hub"
        raise CheckpointError(f"base {source!r} {what}: {first}") from None


def _refuse_other_vocabulary(source: str, tokenizer: Any, student: Any) -> None:
    written, known = len(tokenizer), student.config.vocab_size
    if written > known:
        raise CheckpointError(
            f"base {source!r}: its tokenizer has {written} tokens, its model {known}: another vocabulary."
        )


def _recipe(plan: Plan) -> Recipe:
    if not plan.files:
        raise TrainingError("expected at least one data file.")
    return Recipe(
        name=plan.output.name,
        seed=plan.seed,
        student=Student(max_tokens=plan.max_tokens, earlier_turns=chat_of(plan).earlier_turns),
        schedule=plan.schedule,
        loss=Loss(embedding=0.0, label=1.0, teacher_share=0.0, edit_share=plan.edit_share),
        outcomes=(),
        rules=(),
        directory=plan.output,
    )


def _settings(plan: Plan) -> dict[str, Any]:
    """The plan as plain values; paths by name, so that a moved directory is the same run."""
    return {
        **asdict(plan),
        "files": [path.name for path in plan.files],
        "validation": [path.name for path in plan.validation],
        "output": plan.output.name,
        "base": plan.base if plan.base == ENCODER else Path(plan.base).name,
    }
