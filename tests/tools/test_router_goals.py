import pytest
from tools.router_goals import Goal, render_run


def figure(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.5, "**missed**"), (0.6, "floor reached, aim missed"), (0.7, "reached")]
)
def test_a_figure_reaches_its_floor_its_aim_or_nothing(value, verdict):
    row = Goal("APGR", 0.6, 0.7, lambda r: figure(value, 0.4, 0.8)).row({})
    assert row == f"| APGR | 0.600, aim 0.700 | {value:.3f} [0.400, 0.800] | {verdict} |"


def test_a_figure_that_should_be_small():
    row = Goal("flips", 0.05, None, lambda r: {"value": 0.06}, percent=True, most=True).row({})
    assert row == "| flips | at most 5.0 % | 6.0 % | **missed** |"


def test_a_run_is_told_by_its_best_evaluation():
    history = [
        {"step": s, "score": v, "validation_measured_entropy": v, "validation_ruled_entropy": 0.0}
        for s, v in ((10.0, 0.5), (20.0, 0.4), (30.0, 0.45))
    ]
    training = {
        "history": history,
        "steps": 30,
        "minutes": 1.5,
        "threads": 1,
        "examples": {"train": 1000, "validation": 10},
        "bad_rows": 0,
        "near_duplicates_left_out": 2,
        "torch": "2",
    }
    text = render_run(training, {"method": "platt", "a": 1.0, "b": 0.0, "n": 10})
    assert "| steps | 30, the best at 20 |" in text
    assert "0.4000 and 0.0000 nats" in text
