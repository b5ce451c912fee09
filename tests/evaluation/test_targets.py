import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.evaluation.benchmarks import small_benchmark

from pointsman.errors import DataError
from pointsman.evaluation.targets import Figure, Target, figures, read_targets


def measured() -> dict[tuple[str, str], Figure]:
    found = figures(small_benchmark(), read_targets())
    return {(figure.target.more, figure.target.shape): figure for figure in found}


def test_every_target_is_answered() -> None:
    assert len(figures(small_benchmark(), read_targets())) == len(read_targets()) == 15


@pytest.mark.parametrize(
    ("more", "shape", "value", "verdict"),
    [
        ("plain", "32x32", 1.4, "above the floor"),
        ("torch", "1x8", 6.0, "above the floor"),
        ("torch", "1x16", 6.0, "aim reached"),
        ("guide_quantized", "1x16", 2.2, "aim reached"),
        ("folded_products", "1x16", 0.95, "aim reached"),
        ("int8_products", "1x16", 0.8, "below the aim"),
        ("guide_loop", "bulk", 6.0, "aim reached"),
    ],
)
def test_figures_and_verdicts(more: str, shape: str, value: float, verdict: str) -> None:
    figure = measured()[more, shape]
    assert figure.measured is not None
    assert figure.measured.median == pytest.approx(value, rel=1e-3)
    assert figure.verdict == verdict


def test_a_figure_below_the_floor_says_so() -> None:
    target = replace(read_targets()[0], floor=9.0, aim=10.0)
    assert figures(small_benchmark(), (target,))[0].verdict == "below the floor"


def test_seconds_are_better_when_fewer() -> None:
    benchmark = small_benchmark()
    target = Target("t", "seconds", "router_program", None, "cold start", "all", 0.3, 0.2)
    assert figures(benchmark, (target,))[0].verdict == "above the floor"
    assert figures(benchmark, (replace(target, aim=0.3),))[0].verdict == "aim reached"
    assert figures(benchmark, (replace(target, floor=0.21),))[0].verdict == "below the floor"


def test_what_was_not_measured_has_a_reason() -> None:
    figure = measured()["convert", "conversion"]
    assert (figure.verdict, figure.reason) == ("not measured", "no such scenario in this run")
    target = replace(read_targets()[0], more="torch_compile")
    assert (
        figures(small_benchmark(), (target,))[0].reason == "torch_compile: left out of this set of scenarios"
    )


@pytest.mark.parametrize(
    "data",
    [{}, {"schema": 1}, {"schema": 1, "targets": [{}]}, {"schema": 2, "targets": []}, []],
)
def test_a_file_that_is_not_understood_is_refused(tmp_path: Path, data: object) -> None:
    path = tmp_path / "targets.json"
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match="targets"):
        read_targets(path)


def test_a_target_that_means_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="do not fit"):
        replace(read_targets()[0], what="speed")
    with pytest.raises(DataError, match="do not fit"):
        replace(read_targets()[0], less=None)
