import pytest
from benchmarks.cores.figures import makespan, measured, modelled


@pytest.mark.parametrize(
    ("runs", "threads", "seconds"),
    [([3.0, 2.0, 1.0], 1, 6.0), ([3.0, 2.0, 1.0], 2, 3.0), ([3.0, 2.0, 2.0], 2, 4.0), ([3.0, 1.0], 8, 3.0)],
)
def test_runs_are_dealt_out_to_the_first_free_thread(runs, threads, seconds) -> None:
    assert makespan(runs, threads) == seconds


def test_the_model_gives_back_what_two_threads_measured_and_stays_under_the_serial_bound() -> None:
    stages = {"rounds": [{"whole": 10.0, "encode": 0.5, "runs": [1.0] * 9}] * 3}
    parts = {"many": {"texts": 100, "rounds": [[10.0, 5.5], [10.0, 5.5]]}, "stages": stages}
    (ratio,) = measured(parts)
    assert ratio.what.startswith("`route_many`, two threads over one")
    assert str(ratio.value).startswith("1.82x (1.82 to 1.82, 2 rounds); 10 and 18 texts/s")
    found = {figure.what: figure.value for figure in modelled(parts)}
    gains = [value for what, value in found.items() if what.startswith("modelled")]
    assert gains[0] == pytest.approx(10 / 5.5)
    assert all(float(gain) < 10 for gain in gains)
    assert gains == sorted(gains)
