"""The policy: thresholds are monotone, doubt goes to the safe target, the model's word is kept."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.decision import Reason
from pointsman.errors import SettingsError
from pointsman.policy import Policy

shares = st.floats(0.0, 1.0)
targets = st.sampled_from(["local", "cloud"])
policies = st.builds(Policy, shares, shares, targets)


@given(policies, shares, st.booleans())
def test_the_models_word_does_not_depend_on_the_policy(policy: Policy, p_cloud: float, empty: bool) -> None:
    verdict = policy.decide(p_cloud, is_empty=empty)
    assert verdict.label == ("cloud" if p_cloud >= 0.5 else "local")
    assert verdict.confidence == max(p_cloud, 1.0 - p_cloud)
    assert 0.5 <= verdict.confidence <= 1.0


@given(policies, shares)
def test_the_reason_is_true(policy: Policy, p_cloud: float) -> None:
    verdict = policy.decide(p_cloud)
    unsure = verdict.confidence < policy.confidence_threshold
    assert (verdict.reason == Reason.LOW_CONFIDENCE) == unsure
    if unsure:
        assert verdict.target == policy.safe_target
    elif verdict.reason == Reason.MODEL:
        assert verdict.target == verdict.label
    else:
        assert verdict.reason == Reason.THRESHOLD
        assert verdict.target != verdict.label


@given(shares, shares, shares, targets)
def test_more_probable_never_means_less_cloud(low: float, high: float, threshold: float, safe: str) -> None:
    low, high = sorted((low, high))
    policy = Policy(threshold, 0.0, safe)
    assert not (policy.decide(low).target == "cloud" and policy.decide(high).target == "local")


@given(shares, shares, shares)
def test_a_higher_threshold_never_sends_more_to_the_cloud(p_cloud: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    lenient, strict = Policy(low, 0.0), Policy(high, 0.0)
    assert not (strict.decide(p_cloud).target == "cloud" and lenient.decide(p_cloud).target == "local")


@given(shares, shares, shares, targets)
def test_asking_for_more_confidence_never_sends_less_to_the_safe_target(
    p_cloud: float, one: float, other: float, safe: str
) -> None:
    low, high = sorted((one, other))
    if Policy(0.5, low, safe).decide(p_cloud).target == safe:
        assert Policy(0.5, high, safe).decide(p_cloud).target == safe


@given(policies, shares)
def test_an_empty_text_goes_to_the_safe_target(policy: Policy, p_cloud: float) -> None:
    verdict = policy.decide(p_cloud, is_empty=True)
    assert (verdict.target, verdict.reason) == (policy.safe_target, Reason.EMPTY_TEXT)


def test_both_thresholds_are_inclusive() -> None:
    assert Policy(0.5, 0.0).decide(0.5).target == "cloud"
    assert Policy(0.9, 0.0).decide(math.nextafter(0.9, 0.0)).target == "local"
    assert Policy(0.5, 0.75).decide(0.75).reason is Reason.MODEL
    assert Policy(0.5, 0.75).decide(0.25).reason is Reason.MODEL


def test_the_default_doubts_under_seven_tenths_and_doubt_goes_to_the_cloud() -> None:
    assert Policy().decide(0.4) == ("cloud", "local", 0.6, Reason.LOW_CONFIDENCE)


@pytest.mark.parametrize("name", ["cloud_threshold", "confidence_threshold"])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, True, "0.5", None])
def test_a_threshold_that_is_no_share_is_named(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: expected a number from 0 to 1"):
        Policy(**{name: value})


@pytest.mark.parametrize("value", ["", "Cloud", "edge", 1, None])
def test_a_safe_target_that_is_no_target_is_named(value: object) -> None:
    with pytest.raises(SettingsError, match=r"^safe_target: expected"):
        Policy(safe_target=value)  # type: ignore[arg-type]
