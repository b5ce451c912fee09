"""Word experts fitted: each family its own, everyday texts left alone, and what a recipe writes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.convert.tiny_checkpoint import VOCABULARY, write_checkpoint

from pointsman.checkpoint.word_experts import UNIT, read_word_experts
from pointsman.errors import CheckpointError, DataError, SettingsError
from pointsman.train.distill import Distillation, distill
from pointsman.train.recipe import WordExpertSettings
from pointsman.train.recipe_loader import load_recipe
from pointsman.train.scoring import CheckpointScorer
from pointsman.train.word_experts import CHATS, EVERYDAY, Words, fit_word_experts

pytestmark = pytest.mark.torch

HARD, FIRST, SECOND, CHAT, FILL = 2, 3, 4, 5, range(6, 16)
SETTINGS = WordExpertSettings(strength=4.0, gate_penalty=0.01)


def texts(seed: int, count: int, mark: int) -> tuple[list[list[int]], np.ndarray]:
    """Texts of fill, marked by their family; half of them have the word that says how hard they are."""
    rng = np.random.default_rng(seed)
    hard = rng.random(count) < 0.5
    rows = [[0, mark, *rng.choice(list(FILL), 5).tolist(), *([HARD] if h else []), 1] for h in hard]
    return rows, hard.astype(float)


def fitted(everyday: bool = True):
    first, gain = texts(1, 300, FIRST)
    second, other = texts(2, 300, SECOND)
    chat, _ = texts(3, 300, CHAT)
    ids, gains = [*first, *second], np.concatenate([gain, 1.0 - other])
    family = ["a"] * 300 + ["b"] * 300
    if everyday:
        ids, gains, family = (
            [*ids, *chat],
            np.concatenate([gains, np.full(300, np.nan)]),
            family + [EVERYDAY] * 300,
        )
    return fit_word_experts(Words(ids, 16, [0, 1]), gains, family, SETTINGS)


def margins(experts, rows):
    width = max(map(len, rows))
    ids = np.array([[*row, *[0] * (width - len(row))] for row in rows])
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return experts.margins(ids, mask)


def test_a_word_means_what_it_means_in_its_family_and_nothing_in_everyday_texts():
    experts = fitted()
    assert experts.count == 3
    for mark, sign in ((FIRST, 1), (SECOND, -1)):
        rows, hard = texts(9, 200, mark)
        said = margins(experts, rows) * sign
        assert said[hard == 1].min() > 0.2 and said[hard == 0].max() < -0.2
    assert np.abs(margins(experts, texts(9, 200, CHAT)[0])).max() < 0.5


def test_everyday_texts_have_an_expert_of_their_own_as_strong_as_asked():
    rows, hard = texts(3, 300, CHAT)
    exam, gain = texts(1, 300, FIRST)
    words = Words([*exam, *rows], 16, [0, 1])
    gains, family = np.concatenate([1.0 - gain, hard]), ["a"] * 300 + [EVERYDAY] * 300
    once, twice, never = (
        fit_word_experts(words, gains, family, replace(SETTINGS, everyday_strength=strength))
        for strength in (1.0, 2.0, 0.0)
    )
    assert not never.table[:, -1].any() and once.table[HARD, -1] * UNIT > 5.0
    np.testing.assert_allclose(twice.table[:, -1], 2.0 * once.table[:, -1], atol=2.0)
    new, is_hard = texts(9, 200, CHAT)
    assert ((margins(once, new) > 0.0) == (is_hard == 1)).all()
    new, is_hard = texts(9, 200, FIRST)
    assert ((margins(once, new) > 0.0) == (is_hard == 0)).all()


def test_chats_are_left_to_the_network_whatever_the_expert_of_everyday_texts_says():
    rows, hard = texts(3, 300, CHAT)
    turns = [[*row[:-1], SECOND, *row[2:]] for row in rows]
    exam, gain = texts(1, 300, FIRST)
    family = ["a"] * 300 + [EVERYDAY] * 300 + [CHATS] * 300
    experts = fit_word_experts(
        Words([*exam, *rows, *turns], 16, [0, 1]),
        np.concatenate([gain, hard, 1.0 - hard]),
        family,
        replace(SETTINGS, everyday_strength=1.0),
    )
    assert experts.count == 3
    assert np.abs(margins(experts, turns)).max() < 0.2 * np.abs(margins(experts, rows)).min()


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_everyday_texts_of_one_target_teach_nothing(target):
    rows, _ = texts(3, 100, CHAT)
    exam, gain = texts(1, 100, FIRST)
    how = replace(SETTINGS, everyday_strength=1.0)
    family = ["a"] * 100 + [EVERYDAY] * 100
    experts = fit_word_experts(
        Words([*exam, *rows], 16, [0, 1]), np.concatenate([gain, np.full(100, target)]), family, how
    )
    assert not experts.table[:, -1].any()


@pytest.mark.parametrize("strength", [0.0, 2.0, 4.0])
def test_a_subject_is_a_topic_whose_mean_gain_counts_beside_the_expert_of_its_family(strength):
    easy, gain = texts(1, 300, FIRST)
    difficult, _ = texts(2, 300, SECOND)
    chat, _ = texts(3, 300, CHAT)
    experts = fit_word_experts(
        Words([*easy, *difficult, *chat], 16, [0, 1]),
        np.concatenate([0.25 * gain, 0.25 * gain + 0.5, np.full(300, np.nan)]),
        ["a"] * 600 + [EVERYDAY] * 300,
        replace(SETTINGS, strength=0.001, subject_strength=strength),
        ["one"] * 300 + ["two"] * 300 + [""] * 300,
    )
    assert (experts.topics, experts.count) == ((3, 2) if strength else (2, 2))
    lead = (
        margins(experts, texts(9, 200, SECOND)[0]).mean() - margins(experts, texts(9, 200, FIRST)[0]).mean()
    )
    assert lead == pytest.approx(0.5 * strength, rel=0.1, abs=0.01)
    assert np.abs(margins(experts, texts(9, 200, CHAT)[0])).max() < 0.1


@pytest.mark.parametrize("named", [
    [("a b", "c"), ("a", "b c")],
    [("a", "x"), ("a", "x\0")],
    [("a", "a"), ("b", "a"), ("b", "b")],
    [("a", ""), ("a", "{}\n\u00b6 \U0001f600")],
])  # fmt: skip
def test_two_topics_stay_two_whatever_their_families_and_subjects_are_called(named):
    rows, gain = texts(1, 50 * len(named), FIRST)
    family, subject = zip(*(pair for pair in named for _ in range(50)), strict=True)
    experts = fit_word_experts(
        Words(rows, 16, [0, 1]), gain, family, replace(SETTINGS, subject_strength=2.0), subject
    )
    assert experts.topics == len(named)
    families = sorted({name for name, _ in named})
    assert experts.expert.tolist() == [families.index(name) for name, _ in sorted(named)]


def test_without_subjects_each_family_is_one_topic():
    rows, gain = texts(1, 100, FIRST)
    how = replace(SETTINGS, subject_strength=2.0)
    experts = fit_word_experts(Words(rows, 16, [0, 1]), gain, ["a"] * 50 + ["b"] * 50, how)
    assert (experts.topics, experts.count) == (2, 2)


def test_everyday_texts_that_count_less_are_known_less_surely():
    first, gain = texts(1, 300, FIRST)
    chat, _ = texts(3, 300, CHAT)
    shares = []
    for weight in (1.0, 0.1):
        experts = fit_word_experts(
            Words([*first, *chat], 16, [0, 1]),
            np.concatenate([gain + 9.0, np.full(300, np.nan)]),
            ["a"] * 300 + [EVERYDAY] * 300,
            replace(SETTINGS, gate_everyday=weight),
        )
        assert experts.topics == 2
        shares.append(float(experts.gate_bias[0] - experts.gate_bias[1]))
    assert shares[1] < shares[0]


def test_special_tokens_say_nothing_and_the_result_is_the_same_again():
    experts, again = fitted(), fitted()
    assert not experts.table[[0, 1]].any()
    np.testing.assert_array_equal(experts.table, again.table)


def test_one_family_alone_is_a_linear_model_and_with_everyday_texts_it_has_a_gate():
    rows, gain = texts(1, 300, FIRST)
    chat, _ = texts(3, 300, CHAT)
    alone = fit_word_experts(Words(rows, 16, [0, 1]), gain, ["a"] * 300, SETTINGS)
    assert alone.count == 1 and not alone.table[:, 0].any()
    gains = np.concatenate([gain, np.zeros(300)])
    gated = fit_word_experts(
        Words([*rows, *chat], 16, [0, 1]), gains, ["a"] * 300 + [EVERYDAY] * 300, SETTINGS
    )
    assert gated.count == 2
    assert np.abs(margins(gated, chat)).mean() < 0.2 * np.abs(margins(gated, rows)).mean()


RECIPE = """
name = "words"
seed = 3
[target]
gain = true
[word_experts]
strength = 3
[[outcomes]]
family = "exam"
files = "exam.jsonl"
[[rules]]
files = "chat.jsonl"
label = "local"
"""


def data(directory: Path) -> Path:
    rng = np.random.default_rng(5)
    exam = [{"query": f"{w} {n}", "weak_score": 0.5, "strong_score": 1.0 if w == "zz" else 0.4}
            for n, w in enumerate(rng.choice(["zz", "aa"], 200))]  # fmt: skip
    chat = [{"query": f"hello {n}"} for n in range(100)]
    for name, rows in (("exam", exam), ("chat", chat)):
        (directory / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (directory / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    return directory


def made(directory: Path, base: str | None) -> Path:
    recipe = load_recipe(data(directory) / "recipe.toml")
    return distill(
        Distillation(recipe, directory, directory / "run", base=base), threads=1, progress=lambda line: None
    )


def test_a_recipe_puts_them_beside_a_base_whose_weights_stay(tmp_path):
    base = write_checkpoint(tmp_path / "base")
    kept = '{"method": "platt", "a": 0.8, "b": -0.1, "data_sha256": "0", "n": 9}'
    (base / "calibration.json").write_text(kept, encoding="utf-8")
    checkpoint = made(tmp_path, str(base))
    assert (checkpoint / "model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()
    assert (checkpoint / "calibration.json").read_text(encoding="utf-8") == kept
    record = json.loads((checkpoint / "training.json").read_text(encoding="utf-8"))["word_experts"]
    assert (record["recipe"], record["experts"], record["strength"]) == ("words", 2, 3.0)
    experts = read_word_experts(checkpoint, len(VOCABULARY))
    assert experts is not None
    asked = ["zz 1", "aa 1"]
    moved = np.diff(
        CheckpointScorer(checkpoint).logits(asked) - CheckpointScorer(base).logits(asked), axis=1
    )[:, 0]
    assert moved[0] > moved[1] + 0.3


@pytest.mark.parametrize("base", [None, "nowhere"])
def test_without_a_base_that_is_there_nothing_is_written(base, tmp_path):
    with pytest.raises(CheckpointError, match="stand beside a checkpoint"):
        made(tmp_path, base)
    assert not (tmp_path / "run").exists()


def test_a_recipe_without_measured_questions_is_refused(tmp_path):
    data(tmp_path)
    unmeasured = RECIPE.replace('[[outcomes]]\nfamily = "exam"\nfiles = "exam.jsonl"\n', "")
    (tmp_path / "recipe.toml").write_text(unmeasured, encoding="utf-8")
    base = str(write_checkpoint(tmp_path / "base"))
    plan = Distillation(load_recipe(tmp_path / "recipe.toml"), tmp_path, tmp_path / "run", base=base)
    with pytest.raises(DataError, match=r"recipe words: .* add \[\[outcomes\]\]"):
        distill(plan, threads=1, progress=lambda line: None)
    assert not (tmp_path / "run" / "checkpoint").exists()


@pytest.mark.parametrize(("line", "words"), [
    ("subject_strength = -1", "subject_strength: expected at least 0"),
    ("gate_everyday = -1", "gate_everyday: expected at least 0"),
    ("gate_iterations = 0", "gate_iterations: expected at least 1"),
    ("strength = -1", "strength: expected at least 0"),
    ("everyday_strength = -0.5", "everyday_strength: expected at least 0"),
    ("everyday_penalty = 0", "everyday_penalty: expected at least"),
    ("gate_penalty = 0.0", "gate_penalty: expected at least"),
    ("strenght = 1", "Did you mean 'strength'"),
    ("subject_strength = 5", "strength: expected above 0"),
    ("everyday_strength = 0.5", "strength: expected above 0"),
])  # fmt: skip
def test_a_setting_that_cannot_be_is_refused(line, words, tmp_path):
    (tmp_path / "recipe.toml").write_text(f"[word_experts]\n{line}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=words):
        load_recipe(tmp_path / "recipe.toml")
