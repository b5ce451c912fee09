"""A recipe: every setting and seed of a training run, with defaults and limits, read by `recipe_loader`."""

from dataclasses import dataclass
from pathlib import Path

from pointsman.artifact.manifest import Chat
from pointsman.errors import SettingsError


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
        gate_penalty: of the logistic regression that tells the topics apart.
        gate_iterations: of it at most; fewer are a penalty, too.
        gate_everyday: how much a ruled text counts in it, where a measured one counts 1.
        subject_strength: log-odds that a whole unit of a subject's mean gain counts; above 0 each subject is
            a topic of the gate, else each family.
        everyday: ruled texts at most that the gate learns to know, and their expert learns from.
        everyday_strength: how much the log-odds of their expert count; at 0 it says nothing.
        everyday_penalty: of its logistic regression.
    """

    strength: float = 0.0
    joint_penalty: float = 3.0
    family_penalty: float = 10.0
    gate_penalty: float = 0.03
    gate_iterations: int = 100
    gate_everyday: float = 1.0
    subject_strength: float = 0.0
    everyday: int = 20_000
    everyday_strength: float = 0.0
    everyday_penalty: float = 0.3

    def __post_init__(self) -> None:
        if not self.strength and (self.subject_strength or self.everyday_strength):
            raise SettingsError(
                "strength: expected above 0 where subject_strength or everyday_strength is, found 0: without "
                "it nothing of this part is fitted"
            )


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


LEAST = {
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
    "gate_iterations": 1,
    "gate_everyday": 0,
    "subject_strength": 0,
    "everyday": 0,
    "everyday_strength": 0,
    "everyday_penalty": 1e-6,
}
"""Keys of any part to their least value."""
SHARES = {"validation_share", "teacher_share", "certainty", "edit_share", "warmup_share", "average"}
SHARES |= {"denoise", "shrink", "opinion"}
"""Keys of any part that are 0..1."""
