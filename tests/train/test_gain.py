"""What a measured row is trained to: each lever does what it says, and uses what it may."""

import json

import numpy as np
import pytest

from pointsman.errors import DataError
from pointsman.train.data import Measured
from pointsman.train.gain import denoised, fold_of, read_scores, shrunk

pytestmark = pytest.mark.torch


def outcomes(count: int, seed: int = 3) -> tuple[list[Measured], dict[str, dict[str, float]]]:
    """Rows whose expected gain is the question's hardness, and what three other models scored."""
    rng = np.random.default_rng(seed)
    rows, scores = [], {}
    for i in range(count):
        hardness = rng.random()
        query = f"question {i}"
        weak = float(rng.random() > hardness)
        rows.append(
            Measured(query, "exam", f"subject {i % 2}", ("weak/Model-7B-Instruct", "strong"), weak, 1.0)
        )
        scores[query] = {f"other {k}": float(rng.random() > hardness) for k in range(3)}
        scores[query]["model-7b-inst@host"] = weak
    return rows, scores


def test_other_models_outcomes_take_noise_out_of_a_gain():
    rows, scores = outcomes(1500)
    gains = np.array([row.gain for row in rows])
    hardness = 1.0 - np.array(
        [np.mean([v for k, v in scores[r.query].items() if "other" in k]) for r in rows]
    )
    guess = denoised(rows, gains, scores, 1.0, seed=0)
    assert np.corrcoef(guess, hardness)[0, 1] > 0.9
    half = denoised(rows, gains, scores, 0.5, seed=0)
    assert half == pytest.approx(0.5 * gains + 0.5 * guess)
    assert denoised(rows, gains, scores, 0.0, seed=0) == pytest.approx(gains)


def test_the_pairs_own_models_are_left_out_under_every_spelling():
    rows, scores = outcomes(600)
    gains = np.array([row.gain for row in rows])
    own_alone = {query: {k: v for k, v in s.items() if "host" in k} for query, s in scores.items()}
    guess = denoised(rows, gains, {**own_alone}, 1.0, seed=0) if any(own_alone.values()) else gains
    assert abs(np.corrcoef(guess, gains)[0, 1]) < 0.2


def test_a_row_does_not_learn_from_its_own_outcome():
    rows, scores = outcomes(400)
    gains = np.array([row.gain for row in rows])
    turned = gains.copy()
    turned[0] = 1.0 - turned[0]
    before, after = (denoised(rows, g, scores, 1.0, seed=0) for g in (gains, turned))
    assert after[0] == pytest.approx(before[0])


def test_questions_without_scores_keep_their_gain():
    rows, scores = outcomes(50)
    gains = np.array([row.gain for row in rows])
    assert denoised(rows, gains, {}, 0.5, seed=0) == pytest.approx(gains)
    known = dict(list(scores.items())[:40])
    assert denoised(rows, gains, known, 0.5, seed=0)[40:] == pytest.approx(gains[40:])


def test_half_of_a_gain_is_its_subjects_mean_without_the_row():
    rows = [
        Measured(f"q{i}", "f", s, ("", ""), 0.0, v)
        for i, (s, v) in enumerate(zip("aaab", (1, 0, 0, 1), strict=True))
    ]
    gains = np.array([row.gain for row in rows])
    assert shrunk(rows, gains, 0.5) == pytest.approx([0.5, 0.25, 0.25, 1.0])
    assert shrunk(rows, gains, 0.0) == pytest.approx(gains)


def test_copies_share_a_fold():
    assert fold_of("What is 2 + 2?", 1) == fold_of("what is 2 2", 1)
    assert {fold_of(f"text {i}", 1) for i in range(99)} == set(range(5))


def test_scores_are_read_and_a_bad_row_is_an_error(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"query": " q ", "scores": {"a": 1}}) + "\n", encoding="utf-8")
    assert read_scores([path]) == {"q": {"a": 1.0}}
    path.write_text('{"query": "q"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"m\.jsonl:1"):
        read_scores([path])
