"""The policy: thresholds are monotone, doubt goes to the safe target, the model's word is kept."""

import math
from dataclasses import replace

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


def neighbours(*numbers: float) -> list[float]:
    """Each number with the ones next to it, 0..1."""
    near = [m for n in numbers for m in (math.nextafter(n, -1.0), n, math.nextafter(n, 2.0))]
    return sorted({m for m in near if 0.0 <= m <= 1.0})


GRID = [step / 100 for step in range(101)]


@pytest.mark.parametrize("safe", ["local", "cloud"])
@pytest.mark.parametrize("t", [0.0, 0.05, 0.3, 0.5, 0.7, 0.94, 1.0])
def test_every_setting_is_its_two_rules_and_monotone(safe: str, t: float) -> None:
    for c in neighbours(*GRID):
        policy = Policy(t, c, safe)
        edge = policy.effective_threshold
        targets = []
        for p in neighbours(*GRID, t, c, 1.0 - c, edge):
            is_cloud = p >= t and p >= c if safe == "local" else p >= t or not p <= 1.0 - c
            targets.append("cloud" if is_cloud else "local")
            assert policy.decide(p).target == targets[-1], (t, c, p)
        assert targets == sorted(targets, key=("local", "cloud").index)


@given(policies, shares, shares)
def test_more_probable_never_means_less_cloud(policy: Policy, low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert not (policy.decide(low).target == "cloud" and policy.decide(high).target == "local")


def test_a_low_and_a_high_probability_do_not_change_places() -> None:
    policy = Policy(0.94, 0.7, "cloud")
    assert [policy.decide(p).target for p in (0.2, 0.4, 0.93, 0.95)] == ["local", "cloud", "cloud", "cloud"]


@given(policies, shares)
def test_the_reason_is_true(policy: Policy, p_cloud: float) -> None:
    verdict = policy.decide(p_cloud)
    c = policy.confidence_threshold
    if verdict.reason == Reason.LOW_CONFIDENCE:
        assert verdict.target == policy.safe_target
        assert p_cloud < c and p_cloud > 1.0 - c
    elif verdict.reason == Reason.MODEL:
        assert verdict.target == verdict.label
    else:
        assert verdict.reason == Reason.THRESHOLD
        assert verdict.target != verdict.label
        without = Policy(policy.cloud_threshold, 0.0, policy.safe_target)
        assert without.decide(p_cloud).target == verdict.target, "the cloud threshold alone does it"


@given(policies, shares, shares)
def test_a_higher_threshold_never_sends_more_to_the_cloud(policy: Policy, p: float, other: float) -> None:
    low, high = sorted((policy.cloud_threshold, other))
    lenient, strict = replace(policy, cloud_threshold=low), replace(policy, cloud_threshold=high)
    assert not (strict.decide(p).target == "cloud" and lenient.decide(p).target == "local")


@given(policies, shares, shares)
def test_asking_for_more_confidence_never_sends_less_to_the_safe_target(
    policy: Policy, p_cloud: float, other: float
) -> None:
    low, high = sorted((policy.confidence_threshold, other))
    lenient, strict = replace(policy, confidence_threshold=low), replace(policy, confidence_threshold=high)
    if lenient.decide(p_cloud).target == policy.safe_target:
        assert strict.decide(p_cloud).target == policy.safe_target


@given(policies, shares)
def test_a_chosen_threshold_is_the_one_that_is_served(policy: Policy, threshold: float) -> None:
    assert policy.overruled(cloud_threshold=threshold).effective_threshold == threshold


def test_what_is_given_beside_a_chosen_threshold_holds() -> None:
    policy = Policy(0.5, 0.7, "cloud")
    assert policy.overruled() == policy
    assert policy.overruled(safe_target="local") == Policy(0.5, 0.7, "local")
    assert policy.overruled(confidence_threshold=0.9) == Policy(0.5, 0.9, "cloud")
    assert policy.overruled(cloud_threshold=0.6, confidence_threshold=0.8) == Policy(0.6, 0.8, "cloud")
    assert policy.overruled(cloud_threshold=0.6) == Policy(0.6, 0.0, "cloud")


@given(policies, shares)
def test_an_empty_text_goes_to_the_safe_target(policy: Policy, p_cloud: float) -> None:
    verdict = policy.decide(p_cloud, is_empty=True)
    assert (verdict.target, verdict.reason) == (policy.safe_target, Reason.EMPTY_TEXT)


@given(policies, shares)
def test_an_unreadable_text_goes_to_the_safe_target(policy: Policy, p_cloud: float) -> None:
    verdict = policy.decide(p_cloud, is_unreadable=True)
    assert (verdict.target, verdict.reason) == (policy.safe_target, Reason.UNREADABLE_TEXT)


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
