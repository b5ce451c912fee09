"""The history of a training run as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pointsman.errors import TrainingError

_HELD_OUT = "validation_"
_KINDS = ("entropy", "distance")


def draw_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw every held-out loss of a run's history against its steps, as a PNG.

    Each has a panel and a scale of its own: they are different losses of different rows, and one axis for
    all would draw every one of them flat.

    Args:
        history: one mapping an evaluation, with `step`, and losses as `validation_..._entropy`, in nats, or
            `validation_..._distance`, as 1 - cosine. One that is 0 throughout was no part of the run.

    Raises:
        TrainingError: the disk refused.
    """
    from matplotlib.figure import Figure

    last = history[-1] if history else {}
    names = [n for n in last if n.startswith(_HELD_OUT) and n.endswith(_KINDS)]
    names = [n for n in names if any(facts.get(n) for facts in history)]
    figure = Figure(figsize=(3.6 * max(1, len(names)), 2.8), dpi=110, layout="constrained")
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), place)
        steps = [facts["step"] for facts in history if name in facts]
        axes.plot(steps, [f[name] for f in history if name in f], color="#0b5fa5", marker="o", ms=3)
        axes.set_title(name.removeprefix(_HELD_OUT).replace("_", " ") + ", held out", fontsize=9)
        axes.set_xlabel("optimizer steps", fontsize=8)
        axes.set_ylabel("nats" if name.endswith("entropy") else "1 - cosine", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path, metadata={"Software": None})
    except OSError as error:
        raise TrainingError(f"cannot write {path}: {error.strerror}.") from None
