"""The history of a training run as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pointsman.errors import TrainingError


def draw_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw every loss of a run's history against its steps, as a PNG.

    Args:
        history: one mapping an evaluation, with `step`, and losses under names that contain `loss`,
            `entropy` or `distance`, in nats or as 1 - cosine.
            One that is 0 throughout was no part of the run.
        path: where the PNG goes.

    Raises:
        TrainingError: the disk refused.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    names = [n for n in (history[-1] if history else {}) if any(k in n for k in ("entropy", "loss", "dist"))]
    names = [n for n in names if any(facts.get(n) for facts in history)]
    for name in names:
        steps = [facts["step"] for facts in history if name in facts]
        axes.plot(steps, [f[name] for f in history if name in f], marker=".", label=name.replace("_", " "))
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    if names:
        axes.legend(fontsize=8)
    try:
        figure.savefig(path, metadata={"Software": None})
    except OSError as error:
        raise TrainingError(f"cannot write {path}: {error.strerror}.") from None
