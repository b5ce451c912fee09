import numpy as np
import pytest
from tests.train.test_experts import texts
from tools.left_out_families import MEAN, distinct, leave_one_out

from pointsman.train.data import Measured

pytestmark = pytest.mark.torch


def test_a_family_left_out_is_judged_by_what_the_others_teach():
    rows = [
        Measured(text, family, f"{family} s", ("w", "s"), 0.0, float(hard))
        for family, seed in (("a", 1), ("b", 2), ("c", 3))
        for text, hard in texts(80, seed)
    ]
    vectors = np.random.default_rng(0).normal(size=(len(distinct(rows)), 8)).astype(np.float16)
    found = leave_one_out(rows, vectors)
    assert set(found) == {"a", "b", "c", MEAN}
    assert found[MEAN]["words"] > 0.7 > 0.6 > found[MEAN]["vectors"]
    equal = [Measured(f"even {i}", "d", "d", ("w", "s"), 0.5, 0.5) for i in range(9)]
    some = leave_one_out([*rows, *equal], np.vstack([vectors, vectors[:9]]))
    assert np.isnan(some["d"]["words"]), "models that are equally good have no gap to recover"
    assert np.isfinite(some[MEAN]["words"])
    assert set(leave_one_out(rows, vectors, ["a"])) == {"a s", "b", "c", MEAN}
