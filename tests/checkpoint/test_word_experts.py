"""The word experts of a checkpoint: their file, what is refused, and their definition in numpy and torch."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from pointsman.checkpoint.torch_word_experts import WordExpertsModule
from pointsman.checkpoint.word_experts import UNIT, WORD_EXPERTS, WordExperts, read_word_experts
from pointsman.errors import CheckpointError

VOCABULARY = 60
FORMAT = {"word_experts": "2"}


def made(count: int, topics: int = 0, seed: int = 0) -> WordExperts:
    """Experts, each of one topic; topics beyond them share the experts in turn."""
    rng, topics = np.random.default_rng(seed), topics or count
    table = np.clip(rng.normal(size=(VOCABULARY, topics + count)), -7, 7)
    expert = np.arange(topics) % count
    return WordExperts.rounded(table, rng.normal(size=topics), rng.normal(size=topics), expert)


def by_hand(experts: WordExperts, tokens: list[int]) -> float:
    """The formula of the module's text, one number after the other."""
    columns = experts.table.shape[1]
    scaled = [
        sum(float(experts.table[t, k]) for t in tokens) * UNIT / len(tokens) ** 0.5 for k in range(columns)
    ]
    topics = experts.topics
    gate = np.exp(np.array(scaled[:topics]) + experts.gate_bias)
    said = [
        min(32.0, max(-32.0, scaled[topics + experts.expert[t]] + float(experts.level[t])))
        for t in range(topics)
    ]
    return float(gate @ np.array(said) / gate.sum())


@pytest.mark.parametrize(("count", "topics"), [(1, 1), (7, 7), (3, 20), (1, 4)])
def test_numpy_and_torch_are_the_definition_whatever_stands_under_mask_0(count, topics):
    experts, rng = made(count, topics), np.random.default_rng(1)
    lengths = [1, 2, 9, 16]
    mask = (np.arange(16) < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.where(mask == 1, rng.integers(0, VOCABULARY, mask.shape), 10**9)
    wanted = [by_hand(experts, row[:n].tolist()) for row, n in zip(ids, lengths, strict=True)]
    np.testing.assert_allclose(experts.margins(ids, mask), wanted, rtol=1e-12, atol=1e-12)
    module = WordExpertsModule(experts)
    tensors = torch.from_numpy(ids), torch.from_numpy(mask)
    np.testing.assert_allclose(module(*tensors).numpy(), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(module.double()(*tensors).numpy(), wanted, rtol=1e-12, atol=1e-12)
    assert not list(module.parameters()) and not module.state_dict()


def test_an_opinion_is_cut_to_32():
    experts = WordExperts.rounded(np.full((VOCABULARY, 2), 31.0), np.zeros(1), np.full(1, 5.0), [0])
    ids = np.zeros((1, 4), np.int64)
    assert experts.margins(ids, ids + 1)[0] == 32.0
    assert WordExpertsModule(experts)(torch.from_numpy(ids), torch.from_numpy(ids + 1))[0] == 32.0


def test_one_expert_is_a_linear_model():
    experts = made(1)
    ids = np.arange(8)[None]
    words = experts.table[:8, 1].astype(np.float64).sum() * UNIT / 8**0.5
    assert experts.margins(ids, np.ones_like(ids))[0] == pytest.approx(words + experts.level[0])


def test_rounding_loses_half_a_unit_at_most_and_refuses_what_does_not_fit():
    table = np.random.default_rng(2).uniform(-31.99, 31.99, (VOCABULARY, 4))
    experts = WordExperts.rounded(table, np.zeros(2), np.zeros(2), [0, 1])
    assert np.abs(experts.table * UNIT - table).max() <= UNIT / 2
    assert experts.exact_tokens >= 512
    for bad in (32.0, -33.0, np.nan, np.inf):
        with pytest.raises(CheckpointError, match="below 32 in magnitude"):
            WordExperts.rounded(np.where(np.arange(4) == 3, bad, table), np.zeros(2), np.zeros(2), [0, 1])


def test_a_file_is_read_as_it_was_written(tmp_path):
    assert read_word_experts(tmp_path, VOCABULARY) is None
    experts = made(3, 5)
    experts.write(tmp_path)
    found = read_word_experts(tmp_path, VOCABULARY)
    assert found is not None and (found.topics, found.count) == (5, 3)
    for name in WordExperts.__slots__:
        np.testing.assert_array_equal(getattr(found, name), getattr(experts, name))
    first = (tmp_path / WORD_EXPERTS).read_bytes()
    found.write(tmp_path)
    assert (tmp_path / WORD_EXPERTS).read_bytes() == first


def with_(**changed):
    experts = made(2)
    return {name: changed.get(name, getattr(experts, name)) for name in WordExperts.__slots__}


BAD = {
    "another dtype": (with_(table=np.zeros((VOCABULARY, 4), np.float32)), FORMAT, "table: expected int16"),
    "no column": (with_(table=np.zeros((VOCABULARY, 0), np.int16)), FORMAT, "expected int16"),
    "topics without an expert": (with_(table=np.zeros((VOCABULARY, 2), np.int16)), FORMAT, "expected int16"),
    "a table of one dimension": (with_(table=np.zeros(VOCABULARY, np.int16)), FORMAT, "expected int16"),
    "a table of no dimension": (with_(table=np.zeros((), np.int16)), FORMAT, "expected int16"),
    "another vocabulary": (with_(table=np.zeros((59, 4), np.int16)), FORMAT, "each of 60 tokens, found 59"),
    "a bias too many": (
        with_(gate_bias=np.zeros(3, np.float32)),
        FORMAT,
        "level: expected float32",
    ),
    "a level of float64": (with_(level=np.zeros(2)), FORMAT, "level: expected float32"),
    "an expert of int32": (with_(expert=np.zeros(2, np.int32)), FORMAT, "expert: expected int64"),
    "an expert too many": (with_(expert=np.zeros(3, np.int64)), FORMAT, "expert: expected int64"),
    "an expert that is not there": (with_(expert=np.array([0, 2])), FORMAT, "expert: expected 0..1"),
    "an expert below 0": (with_(expert=np.array([0, -1])), FORMAT, "expert: expected 0..1"),
    "NaN": (with_(gate_bias=np.array([0, np.nan], np.float32)), FORMAT, "gate_bias: expected at most 64"),
    "infinity": (with_(level=np.array([0, np.inf], np.float32)), FORMAT, "level: expected at"),
    "too large": (
        with_(level=np.array([0, 65], np.float32)),
        FORMAT,
        "level: expected .* found 65",
    ),
    "a tensor missing": ({"table": with_()["table"]}, FORMAT, "expected .*gate_bias"),
    "a tensor too many": ({**with_(), "more": np.zeros(1)}, FORMAT, "found .*more"),
    "another version": (
        with_(),
        {"word_experts": "1"},
        "metadata.*found .*'1'.*distill RECIPE",
    ),
    "no metadata": (with_(), None, "expected metadata"),
}


@pytest.mark.parametrize(("tensors", "metadata", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_one_clear_error_with_its_name(tensors, metadata, words, tmp_path):
    save_file(tensors, tmp_path / WORD_EXPERTS, metadata=metadata)
    with pytest.raises(CheckpointError, match=f"{WORD_EXPERTS}: .*{words}"):
        read_word_experts(tmp_path, VOCABULARY)


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"version https://git-lfs.github.com/spec/v1\n"])
def test_a_file_that_is_none_is_one_clear_error(content, tmp_path):
    (tmp_path / WORD_EXPERTS).write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_word_experts(tmp_path, VOCABULARY)
