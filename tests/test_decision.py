"""A decision: plain values for JSON, and nobody changes it afterwards."""

import dataclasses
import json

import pytest

from pointsman.decision import Decision, Reason

DECISION = Decision("cloud", "local", 0.6, 0.4, Reason.LOW_CONFIDENCE, 7, False)


def test_it_survives_json() -> None:
    data = json.loads(json.dumps(DECISION.to_dict()))
    assert Decision(**{**data, "reason": Reason(data["reason"])}) == DECISION


def test_its_json_is_plain_and_keeps_the_order_of_the_fields() -> None:
    data = DECISION.to_dict()
    assert list(data) == [f.name for f in dataclasses.fields(Decision)]
    assert {type(value) for value in data.values()} == {str, float, int, bool}
    assert data["reason"] == "low_confidence"


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DECISION.target = "local"  # type: ignore[misc]


def test_a_reason_prints_as_its_word() -> None:
    words = ["model", "threshold", "low_confidence", "empty_text", "unreadable_text"]
    assert [f"{reason}" for reason in Reason] == words
