import numpy as np
import pytest

from pointsman.errors import DataError
from pointsman.traffic.agreement import measured


def test_equal_verdicts_have_kappa_one_and_no_errors():
    person = np.array([True, False] * 20)
    found = measured(person, person)
    assert (found.kappa, found.false_cloud, found.missed_cloud) == (1.0, 0.0, 0.0)
    found.require()


def test_kappa_is_cohens():
    # 45 both yes, 15 judge only, 25 person only, 15 neither: the worked example of many textbooks.
    judge = np.array([True] * 45 + [True] * 15 + [False] * 25 + [False] * 15)
    person = np.array([True] * 45 + [False] * 15 + [True] * 25 + [False] * 15)
    found = measured(judge, person)
    assert found.kappa == pytest.approx(0.1304, abs=1e-4)
    assert found.low < found.kappa < found.high
    assert found.false_cloud == pytest.approx(15 / 30)
    assert found.missed_cloud == pytest.approx(25 / 70)
    with pytest.raises(DataError, match=r"kappa 0\.13"):
        found.require()


def test_few_labels_refuse_nothing():
    measured(np.array([True, False, True]), np.array([False, True, False])).require()


def test_a_judge_of_one_verdict_is_not_trusted():
    with pytest.raises(DataError):
        measured(np.zeros(40, bool), np.arange(40) % 2 == 0).require()
