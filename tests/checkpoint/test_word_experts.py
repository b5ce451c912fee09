"""The word experts of a checkpoint: their file, what is refused, and their definition in numpy and torch."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from pointsman.checkpoint.torch_word_experts import WordExpertsModule
from pointsman.checkpoint.word_experts import UNIT, WORD_EXPERTS, WordExperts, read_word_experts
from pointsman.errors import CheckpointError

VOCABULARY = 60
FORMAT = {"word_experts": "1"}


def made(count: int, seed: int = 0) -> WordExperts:
    rng = np.random.default_rng(seed)
    table = np.clip(rng.normal(size=(VOCABULARY, 2 * count)), -7, 7)
    return WordExperts.rounded(table, rng.normal(size=count), rng.normal(size=count))


def by_hand(experts: WordExperts, tokens: list[int]) -> float:
    """The formula of the module's text, one number after the other."""
    sums = [sum(float(experts.table[t, k]) for t in tokens) * UNIT for k in range(2 * experts.count)]
    scaled = [value / len(tokens) ** 0.5 for value in sums]
    gate = np.exp(np.array(scaled[: experts.count]) + experts.gate_bias)
    return float(gate @ (np.array(scaled[experts.count :]) + experts.expert_bias) / gate.sum())


@pytest.mark.parametrize("count", [1, 7])
def test_numpy_and_torch_are_the_definition_whatever_stands_under_mask_0(count):
    experts, rng = made(count), np.random.default_rng(1)
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


def test_one_expert_is_a_linear_model():
    experts = made(1)
    ids = np.arange(8)[None]
    words = experts.table[:8, 1].astype(np.float64).sum() * UNIT / 8**0.5
    assert experts.margins(ids, np.ones_like(ids))[0] == pytest.approx(words + experts.expert_bias[0])


def test_rounding_loses_half_a_unit_at_most_and_refuses_what_does_not_fit():
    table = np.random.default_rng(2).uniform(-31.99, 31.99, (VOCABULARY, 4))
    experts = WordExperts.rounded(table, np.zeros(2), np.zeros(2))
    assert np.abs(experts.table * UNIT - table).max() <= UNIT / 2
    assert experts.exact_tokens >= 512
    for bad in (32.0, -33.0, np.nan, np.inf):
        with pytest.raises(CheckpointError, match="below 32 in magnitude"):
            WordExperts.rounded(np.where(np.arange(4) == 3, bad, table), np.zeros(2), np.zeros(2))


def test_a_file_is_read_as_it_was_written(tmp_path):
    assert read_word_experts(tmp_path, VOCABULARY) is None
    experts = made(3)
    experts.write(tmp_path)
    found = read_word_experts(tmp_path, VOCABULARY)
    assert found is not None and found.count == 3
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
    "an odd number of columns": (with_(table=np.zeros((VOCABULARY, 5), np.int16)), FORMAT, "expected int16"),
    "no column": (with_(table=np.zeros((VOCABULARY, 0), np.int16)), FORMAT, "expected int16"),
    "a table of one dimension": (with_(table=np.zeros(VOCABULARY, np.int16)), FORMAT, "expected int16"),
    "a table of no dimension": (with_(table=np.zeros((), np.int16)), FORMAT, "expected int16"),
    "another vocabulary": (with_(table=np.zeros((59, 4), np.int16)), FORMAT, "each of 60 tokens, found 59"),
    "a bias too many": (
        with_(gate_bias=np.zeros(3, np.float32)),
        FORMAT,
        "gate_bias: expected float32",
    ),
    "a bias of float64": (with_(expert_bias=np.zeros(2)), FORMAT, "expert_bias: expected float32"),
    "NaN": (with_(gate_bias=np.array([0, np.nan], np.float32)), FORMAT, "gate_bias: expected at most 64"),
    "infinity": (with_(expert_bias=np.array([0, np.inf], np.float32)), FORMAT, "expert_bias: expected at"),
    "too large": (with_(expert_bias=np.array([0, 65], np.float32)), FORMAT, "expert_bias: expected at most"),
    "a tensor missing": ({"table": with_()["table"]}, FORMAT, "expected .*expert_bias"),
    "a tensor too many": ({**with_(), "more": np.zeros(1)}, FORMAT, "found .*more"),
    "another version": (with_(), {"word_experts": "2"}, "expected metadata.*found .*'2'"),
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
