"""A month of synthetic traffic under a budget: where the spending ends, and what the moving threshold costs.

    python -m benchmarks.pacing [--seeds 5] [--record]

Traffic has days, weekends and, by scenario, growth, a jump, harder queries or longer answers. Each query has
a p_cloud that is its true chance to need the cloud, and a cost that grows with it. Quality is the share of
queries that get the model that they need; a cloud answer is always enough. It is compared with the one fixed
threshold that would have cost the same on the same month, which can only be known afterwards. Two weeks like
the month's beginning are known at its start.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from benchmarks.figures import Figure, record
from numpy.typing import NDArray

from pointsman.bench.environment import capture_environment
from pointsman.pacing import HOUR_S, WINDOW_HOURS, Hour, Period, approached, paced_threshold, score_bin

STEP_S = 300
DAYS = 30
START_HOUR = 24 * 7 * 2_900
"""A Thursday, as the epoch began."""
QUERIES_A_DAY = 4_000
SHARE = 0.3
"""Of the queries of a steady month, which the budget would pay for."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scenario:
    """What changes over a month; each function takes the part of the month that is over, 0..1."""

    rate: Callable[[float], float] = lambda part: 1.0
    hardness: Callable[[float], float] = lambda part: 0.0
    cost: Callable[[float], float] = lambda part: 1.0


SCENARIOS = {
    "steady": Scenario(),
    "grows threefold": Scenario(rate=lambda part: 3.0**part),
    "doubles on day 15": Scenario(rate=lambda part: 1.0 if part < 0.5 else 2.0),
    "falls to a third": Scenario(rate=lambda part: 3.0**-part),
    "harder queries from day 15": Scenario(hardness=lambda part: 0.0 if part < 0.5 else 0.8),
    "answers twice as long from day 15": Scenario(cost=lambda part: 1.0 if part < 0.5 else 2.0),
    "ten times the traffic on days 20 and 21": Scenario(
        rate=lambda part: 10.0 if 20 / 30 <= part < 22 / 30 else 1.0
    ),
}


@dataclass(frozen=True)
class Month:
    """Queries in the order of their time: seconds since the epoch, p_cloud, and money in the cloud."""

    at_s: Floats
    p_cloud: Floats
    cost: Floats
    needs: NDArray[np.bool_]

    def quality(self, to_cloud: NDArray[np.bool_]) -> float:
        return float(np.mean(to_cloud | ~self.needs))


def month(scenario: Scenario, seed: int, first_hour: int = START_HOUR, days: int = DAYS) -> Month:
    """Days of traffic that is lively by day and quiet at night and on weekends."""
    draw = np.random.default_rng(seed)
    parts: list[tuple[Floats, Floats, Floats]] = []
    for step in range(days * 24 * HOUR_S // STEP_S):
        now = first_hour * HOUR_S + step * STEP_S
        hour, day, part = now // HOUR_S % 24, now // (24 * HOUR_S) % 7, step * STEP_S / (days * 24 * HOUR_S)
        lively = (1.0 + 0.9 * np.sin((hour - 8) / 24 * 2 * np.pi)) * (0.35 if day in (2, 3) else 1.0)
        count = draw.poisson(QUERIES_A_DAY * STEP_S / 86_400 * lively * scenario.rate(part))
        log_odds = draw.normal(-1.0 + scenario.hardness(part), 1.8, count)
        cost = scenario.cost(part) * np.exp(0.15 * log_odds + draw.normal(0.0, 0.8, count)) / 200
        parts.append((now + np.sort(draw.uniform(0, STEP_S, count)), 1 / (1 + np.exp(-log_odds)), cost))
    at_s, p_cloud, cost = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Month(at_s, p_cloud, cost, draw.uniform(size=len(p_cloud)) < p_cloud)


@dataclass
class Counts:
    """What a gateway's history would hold."""

    hours: dict[int, Hour] = field(default_factory=dict)
    scores: Counter[int] = field(default_factory=Counter)
    by_hour: dict[int, Counter[int]] = field(default_factory=dict)

    def add(self, at: int, p_cloud: Floats, cost: Floats, to_cloud: NDArray[np.bool_]) -> None:
        known, money = self.hours.get(at, Hour()), float(cost[to_cloud].sum())
        calls = known.calls + int(to_cloud.sum())
        self.hours[at] = Hour(known.routed + len(cost), calls, known.cost + money, 0.0)
        seen = Counter(map(score_bin, p_cloud))
        self.scores.update(seen)
        self.by_hour.setdefault(at, Counter()).update(seen)
        self.scores.subtract(self.by_hour.pop(at - WINDOW_HOURS, Counter()))


def weeks_before(name: str, seed: int, threshold: float) -> Counts:
    """Two weeks like the month's beginning, under the starting threshold."""
    start = SCENARIOS[name]
    level = Scenario(lambda _: start.rate(0.0), lambda _: start.hardness(0.0), lambda _: start.cost(0.0))
    traffic = month(level, seed + 500, START_HOUR - 14 * 24, 14)
    counts = Counts()
    hours = traffic.at_s // HOUR_S
    for at in range(START_HOUR - 14 * 24, START_HOUR):
        own = hours == at
        p_cloud = traffic.p_cloud[own]
        counts.add(at, p_cloud, traffic.cost[own], p_cloud >= threshold)
    return counts


def paced(traffic: Month, counts: Counts, amount: float, served: float) -> NDArray[np.bool_]:
    """Which queries go to the cloud under a budget, with an update every five minutes."""
    start, spent, threshold = START_HOUR * HOUR_S, 0.0, served
    end = start + DAYS * 24 * HOUR_S
    sent = np.zeros(len(traffic.at_s), bool)
    edges = np.searchsorted(traffic.at_s, np.arange(start, end + 1, STEP_S))
    for step, (low, high) in enumerate(pairwise(edges)):
        now = start + step * STEP_S
        period = Period(start, end, amount, spent)
        goal = paced_threshold(now, period, counts.hours, counts.scores, served)
        threshold = approached(threshold, goal, STEP_S, now, period)
        p_cloud, cost = traffic.p_cloud[low:high], traffic.cost[low:high]
        wanted = p_cloud >= threshold
        sent[low:high] = wanted & (spent + np.cumsum(np.where(wanted, cost, 0.0)) <= amount)
        spent += float(cost[sent[low:high]].sum())
        counts.add(now // HOUR_S, p_cloud, cost, sent[low:high])
    return sent


def fixed(traffic: Month, money: float) -> NDArray[np.bool_]:
    """What the one threshold of this cost would have sent."""
    order = np.argsort(-traffic.p_cloud)
    sent = np.zeros(len(order), bool)
    sent[order[: np.searchsorted(np.cumsum(traffic.cost[order]), money)]] = True
    return sent


def compared(name: str, seed: int) -> dict[str, Any]:
    """One scenario: deviation from the budget, and quality against the fixed threshold of the same cost."""
    steady = month(SCENARIOS["steady"], 1_000)
    threshold = float(np.quantile(steady.p_cloud, 1 - SHARE))
    amount = float(steady.cost[steady.p_cloud >= threshold].sum())
    traffic = month(SCENARIOS[name], seed)
    sent = paced(traffic, weeks_before(name, seed, threshold), amount, threshold)
    money = float(traffic.cost[sent].sum())
    return {
        "scenario": name,
        "off": money / amount - 1,
        "unpaced_off": float(traffic.cost[traffic.p_cloud >= threshold].sum()) / amount - 1,
        "quality": traffic.quality(sent),
        "fixed_quality": traffic.quality(fixed(traffic, money)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="write the result that the page shows")
    args = parser.parse_args()
    environment = capture_environment()
    figures = []
    runs = [compared(name, seed) for name in SCENARIOS for seed in range(args.seeds)]
    for name in SCENARIOS:
        own = [run for run in runs if run["scenario"] == name]
        off = max((run["off"] for run in own), key=abs)
        lost = min(run["quality"] - run["fixed_quality"] for run in own)
        without = max((run["unpaced_off"] for run in own), key=abs)
        said = f"{off:+.2%} of the budget, {without:+.0%} without pacing; quality {lost:+.4f}"
        figures.append(Figure(f"{name}: the worst of {args.seeds} months", said, aim="within 3 %; +0"))
        print(f"{name}: {said}")
    if args.record:
        record("pacing", f"python -m benchmarks.pacing --seeds {args.seeds}", figures, environment)


if __name__ == "__main__":
    main()
