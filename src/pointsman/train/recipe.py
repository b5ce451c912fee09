"""A recipe: one TOML file with every setting and seed of a training run.

It has more than 300 lines, because a file's keys, their defaults and their limits are read together.
"""

import math
import tomllib
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pointsman.artifact.manifest import Chat
from pointsman.errors import SettingsError
from pointsman.labels import checked_target

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Student:
    """The MobileBERT to be trained.

    Attributes:
        depth: blocks, 1..24.
        max_tokens: tokens read of a text, at least 8.
        earlier_turns: earlier user messages of a chat that are read, too, at least 0.
    """

    depth: int = 6
    max_tokens: int = 128
    earlier_turns: int = 0

    @property
    def chat(self) -> Chat:
        """How a chat is read."""
        return Chat(self.earlier_turns, last_first=self.earlier_turns > 0)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long, how fast.

    Attributes:
        epochs: passes over the data.
        batch_tokens: tokens (with padding) of one step.
        learning_rate: the peak, reached after `warmup_share` of the steps; it falls linearly to 0.
        warmup_share: 0..1.
        weight_decay: AdamW's.
        clip_norm: gradients are cut to this norm.
        average: decay of the moving average of the weights that is evaluated and saved, 0..1.
        evaluations: how often the validation split is looked at.
        patience: evaluations in a row without a better one until training stops.
        bfloat16: matrix products in bfloat16 where the processor has it.
    """

    epochs: float = 4.0
    batch_tokens: int = 4096
    learning_rate: float = 5e-4
    warmup_share: float = 0.06
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    average: float = 0.998
    evaluations: int = 20
    patience: int = 8
    bfloat16: bool = True


@dataclass(frozen=True, slots=True)
class Loss:
    """Weights of the parts of the loss.

    Attributes:
        embedding: cosine distance to the teacher's sentence vector.
        subject: cross-entropy of a measured row's subject, by a head that is not saved.
        label: cross-entropy to the labels.
        measured: how much more a measured label counts than a ruled one. Measured targets lie close together,
            so that at 1 the sure rules drown what ranks them.
        teacher_share: how much of a label is the teacher's soft opinion, 0..1.
        certainty: the probability of its label that an everyday query is trained to, 0.5..1.
        edit_share: share of texts that are edited (typos, politeness, punctuation) when they are read.
    """

    embedding: float = 1.0
    subject: float = 0.0
    label: float = 1.0
    measured: float = 1.0
    teacher_share: float = 0.5
    certainty: float = 0.98
    edit_share: float = 0.2


@dataclass(frozen=True, slots=True)
class Target:
    """What a measured row is trained to; each lever can be switched off.

    Attributes:
        gain: the strong score less the weak one, not whether it is larger.
        denoise: share of it that other models' outcomes say, where `Outcomes.scores` has them, 0..1.
        shrink: share of it that is its subject's mean, 0..1.
        experts: the soft opinions are those of ridge experts by family, not of a logistic regression.
        balance: a family's rows weigh one over the root of its size in the loss.
    """

    gain: bool = False
    denoise: float = 0.0
    shrink: float = 0.0
    experts: bool = False
    balance: bool = False


@dataclass(frozen=True, slots=True)
class WordExpertSettings:
    """The linear part beside a base that is trained already; see `pointsman.train.word_experts`.

    Attributes:
        strength: log-odds that a whole unit of gain counts; above 0 nothing but this part is fitted.
        joint_penalty: of the ridge over all families.
        family_penalty: of each family's ridge on what that leaves.
        gate_penalty: of the logistic regression that tells the families apart.
        everyday: ruled texts at most that the gate learns to know, and their expert learns from.
        everyday_strength: how much the log-odds of their expert count; at 0 it says nothing.
        everyday_penalty: of its logistic regression.
    """

    strength: float = 0.0
    joint_penalty: float = 3.0
    family_penalty: float = 10.0
    gate_penalty: float = 0.03
    everyday: int = 20_000
    everyday_strength: float = 0.0
    everyday_penalty: float = 0.3


@dataclass(frozen=True, slots=True)
class FollowUps:
    """Chats made from the ruled texts; see `pointsman.train.conversation`.

    Attributes:
        file: of phrases, beside the recipe.
        count: how many chats; 0 makes none.
    """

    file: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Files of measured outcomes: `query` with `label`, or with `weak_score` and `strong_score`.

    Attributes:
        files: a glob under the data directory.
        family: what the questions are called together; empty takes each file's name.
        scores: a glob of files with many models' scores of the same questions, for `Target.denoise`.
        validation_share: share of the queries kept for validation, 0..1.
        repeat: how often a query occurs in an epoch, so that a short file counts beside a long one.
    """

    files: str
    family: str = ""
    scores: str = ""
    validation_share: float = 0.1
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Rule:
    """Texts whose target follows from where they come from: a stated rule, not a measurement.

    Attributes:
        files: a glob under the data directory, or under the recipe's own with `own = true`.
        label: `local`, `cloud`, or empty: only the teacher's sentence vector is learned.
        sources: keep rows of these sources only; empty keeps all.
        kinds: keep rows of these kinds only; empty keeps all.
        rows: number of rows drawn with the seed; 0 takes all.
        repeat: how often a text occurs in an epoch.
        part: keep texts whose hash lies from the first to before the second number, 0..1. A recipe with
            [0.0, 0.5] and a suite with [0.5, 1.0] share no text and no near duplicate, whatever they read.
        hold_out: rows of these sources are never read, so that they can test the router.
        min_chars: shorter texts are left out.
        max_chars: longer texts are left out; 0 has no limit.
        own: the files lie beside the recipe.
        opinion: share of the target that is the experts' opinion, 0..1; all of it where there is no label.
    """

    files: str
    label: str = ""
    sources: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    rows: int = 0
    repeat: int = 1
    part: tuple[float, float] = (0.0, 1.0)
    hold_out: tuple[str, ...] = ()
    min_chars: int = 1
    max_chars: int = 0
    own: bool = False
    opinion: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a run; see the parts for each setting.

    Attributes:
        name: of the checkpoint.
        seed: of every draw.
        everyday_validation_share: share of the ruled texts and chats kept for validation, 0..1.
    """

    name: str
    seed: int
    student: Student
    schedule: Schedule
    loss: Loss
    outcomes: tuple[Outcomes, ...]
    rules: tuple[Rule, ...]
    directory: Path
    everyday_validation_share: float = 0.03
    target: Target = Target()
    followups: FollowUps = FollowUps()
    word_experts: WordExpertSettings = WordExpertSettings()


_LEAST = {
    "repeat": 1,
    "earlier_turns": 0,
    "rows": 0,
    "count": 0,
    "depth": 1,
    "max_tokens": 8,
    "batch_tokens": 8,
    "evaluations": 1,
    "strength": 0,
    "joint_penalty": 1e-6,
    "family_penalty": 1e-6,
    "gate_penalty": 1e-6,
    "everyday": 0,
    "everyday_strength": 0,
    "everyday_penalty": 1e-6,
}
_SHARES = {"validation_share", "teacher_share", "certainty", "edit_share", "warmup_share", "average"}
_SHARES |= {"denoise", "shrink", "opinion"}


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        SettingsError: unreadable, an unknown key (the nearest known one is named), or a wrong type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"recipe {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"recipe {path} is not TOML: {error}.") from None
    known = {field.name for field in fields(Recipe)} - {"directory"}
    _refuse_unknown(table, known, str(path))
    return Recipe(
        name=_typed(table.get("name", path.stem), str, f"{path}: name"),
        seed=_typed(table.get("seed", 0), int, f"{path}: seed"),
        student=_part(Student, table.get("student", {}), f"{path}: student"),
        schedule=_part(Schedule, table.get("schedule", {}), f"{path}: schedule"),
        loss=_part(Loss, table.get("loss", {}), f"{path}: loss"),
        outcomes=tuple(_part(Outcomes, t, f"{path}: outcomes") for t in table.get("outcomes", [])),
        rules=tuple(_rule(t, f"{path}: rules") for t in table.get("rules", [])),
        directory=path.resolve().parent,
        everyday_validation_share=_typed(
            table.get("everyday_validation_share", 0.03), float, f"{path}: everyday_validation_share"
        ),
        target=_part(Target, table.get("target", {}), f"{path}: target"),
        followups=_part(FollowUps, table.get("followups", {}), f"{path}: followups"),
        word_experts=_part(WordExpertSettings, table.get("word_experts", {}), f"{path}: word_experts"),
    )


def _rule(table: Any, where: str) -> Rule:
    rule = _part(Rule, table, where)
    if rule.label:
        checked_target(rule.label, f"{where}: label")
    numbers = [part for part in rule.part if isinstance(part, int | float) and not isinstance(part, bool)]
    if len(rule.part) != 2 or len(numbers) != 2 or not 0.0 <= numbers[0] < numbers[1] <= 1.0:
        raise SettingsError(f"{where}: part: expected [from, to] within 0..1, found {list(rule.part)!r}.")
    return rule


def _part(kind: type[_T], table: Any, where: str) -> _T:
    if not isinstance(table, dict):
        raise SettingsError(f"{where}: expected a table, found {table!r}.")
    defaults = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    _refuse_unknown(table, set(defaults), where)
    values: dict[str, Any] = {}
    for name, value in table.items():
        default = defaults[name]
        if isinstance(default, tuple):
            values[name] = tuple(_typed(value, list, f"{where}: {name}"))
        else:  # a key without a default is a text
            wanted = str if default is MISSING else type(default)
            values[name] = _typed(value, wanted, f"{where}: {name}")
        if name in _LEAST and values[name] < _LEAST[name]:
            raise SettingsError(f"{where}: {name}: expected at least {_LEAST[name]:g}, found {value!r}.")
        if name in _SHARES and not 0.0 <= values[name] <= 1.0:
            raise SettingsError(f"{where}: {name}: expected 0 to 1, found {value!r}.")
    try:
        return kind(**values)
    except TypeError as error:
        raise SettingsError(f"{where}: {error}.") from None


def _typed(value: Any, kind: type[_T], where: str) -> _T:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)  # type: ignore[return-value]
    is_number = not isinstance(value, float) or math.isfinite(value)
    if not isinstance(value, kind) or not is_number or (kind is int and isinstance(value, bool)):
        raise SettingsError(f"{where}: expected {kind.__name__}, found {value!r}.")
    return value


def _refuse_unknown(table: dict[str, Any], known: set[str], where: str) -> None:
    for name in table:
        if name not in known:
            near = get_close_matches(name, sorted(known), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"{where}: unknown key {name!r} (known: {', '.join(sorted(known))}).{hint}")
