"""Money of a period: what is counted, when the threshold moves, and what goes where at the cap."""

import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.running import Running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT
from tests.support.waiting import until

from pointsman.errors import SettingsError
from pointsman.pacing import HOUR_S, WINDOW_HOURS
from pointsman.serve.budget import Budget, period_of
from pointsman.serve.observability.history import KEPT_HOURS, SUMS, History
from pointsman.serve.traffic_settings import BudgetSettings

Both = Callable[..., Running]
ONE_CALL = 1000 * 2.0 / 1e6 + 500 * 10.0 / 1e6
"""What the scripted cloud's answer costs."""


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "kind", "begin", "end"),
    [
        ("2026-02-28T23:59:59", "day", "2026-02-28", "2026-03-01"),
        ("2026-03-01T00:00:00", "week", "2026-02-23", "2026-03-02"),
        ("2026-12-31T12:00:00", "month", "2026-12-01", "2027-01-01"),
        ("2028-02-29T12:00:00", "month", "2028-02-01", "2028-03-01"),
    ],
)
def test_periods_are_those_of_the_calendar(now: str, kind: str, begin: str, end: str) -> None:
    assert period_of(at(now), kind) == (at(begin), at(end))


def budgeted(both: Both, amount: float, **tables: Any) -> Running:
    routing = {"budget": {"amount": amount}, **tables.pop("routing", {})}
    return both(routing=routing, **tables)


def target(answer: Any) -> tuple[str, str]:
    assert answer.status_code == 200
    return answer.headers["x-pointsman-target"], answer.headers["x-pointsman-reason"]


def test_at_the_cap_everything_undecided_is_local_and_nothing_is_blocked(both: Both) -> None:
    rules = [
        {"name": "soft", "send": "cloud", "keywords": ["soft"]},
        {"name": "hard", "send": "cloud-only", "keywords": ["hard"]},
        {"name": "private", "send": "local-only", "keywords": ["private"]},
    ]
    gateway = budgeted(both, 2.5 * ONE_CALL, routing={"rules": rules})
    found = []
    for number in range(6):
        found.append(target(gateway.chat(f"{CLOUD_TEXT} {number}")))
        gateway.settle()
    assert found == [("cloud", "model")] * 3 + [("local", "budget")] * 3
    assert target(gateway.chat("soft")) == ("local", "budget")
    assert target(gateway.chat("hard")) == ("cloud", "rule:hard")
    assert target(gateway.chat("private", model="cloud")) == ("local", "rule:private")
    assert target(gateway.chat("x", model="cloud")) == ("cloud", "requested")
    assert target(gateway.chat(CLOUD_TEXT, model="router-0.1")) == ("local", "budget")
    state = gateway.admin.get("/admin/state").json()["budget"]
    assert state["spent"] == pytest.approx(5 * ONE_CALL)
    assert state["period"] == "month"
    assert "pointsman_budget_spent_money" in gateway.admin.get("/metrics").text


def test_a_conversation_at_the_cloud_goes_on_there_in_the_next_period(both: Both) -> None:
    gateway = budgeted(both, 0.5 * ONE_CALL, routing={"sticky": True})
    session = {"x-pointsman-session": "s"}
    assert target(gateway.chat(CLOUD_TEXT, headers=session)) == ("cloud", "model")
    gateway.settle()
    assert target(gateway.chat("and now", headers=session)) == ("local", "budget")
    assert gateway.gateway.budget is not None
    gateway.gateway.budget.amount *= 100
    assert target(gateway.chat("and now", headers=session)) == ("cloud", "sticky")


@pytest.mark.parametrize(
    "upstreams",
    [
        {"cloud": {"url": "http://127.0.0.1:1", "price_in": 1.0}},
        {"local": {"url": "http://127.0.0.1:1"}},
        {"local": {"url": "http://127.0.0.1:1"}, "cloud": {"url": "http://127.0.0.1:1"}},
    ],
)
def test_a_budget_without_prices_or_upstreams_does_not_start(
    artifact: Path, upstreams: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError, match=r"routing\.budget .*: expected both upstreams"):
        settings_for(artifact, upstreams=upstreams, routing={"budget": {"amount": 5}})


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(at("2026-03-10T12:30:00"))
    monkeypatch.setattr("pointsman.serve.observability.history.time.time", made)
    return made


def spend(history: History, clock: Clock, hours: int, money: float) -> None:
    """So many hours of 100 queries with scores between 0 and 1, a tenth of them at the cloud."""
    for _ in range(hours):
        for number in range(100):
            history.score((number + 0.5) / 100)
        history.count(spent=money, paced_calls=10, paced_cost=money)
        history.store()
        clock.now += HOUR_S


def test_a_restart_goes_on_with_the_spending_and_the_threshold(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "history.db"
    settings = BudgetSettings(amount=100.0, period="month")
    history = History(path)
    budget = Budget(settings, history, 1, lambda: 0.5, clock)
    spend(history, clock, 30, 1.0)
    for _ in range(50):
        clock.now += 600
        history.store()
        budget.update()
    history.close()
    again = Budget(settings, reopened := History(path), 1, lambda: 0.5, clock)
    assert again.spent == 30.0
    again.update()
    assert again.spent == budget.spent == 30.0
    assert again.threshold == pytest.approx(budget.threshold, abs=1e-3)
    # 70 for the 500 hours that are left, of 100 queries at 0.1 in the cloud: a seventieth of them.
    assert budget.threshold == pytest.approx(1 - 70 / (500 * 100 * 0.1), abs=0.004)
    reopened.close()


def test_workers_with_a_file_share_what_is_left_and_without_one_have_equal_parts(
    tmp_path: Path, clock: Clock
) -> None:
    settings = BudgetSettings(amount=10.0, period="day")
    one, two = (History(tmp_path / "history.db") for _ in range(2))
    mine, other = (Budget(settings, history, 2, lambda: 0.5, clock) for history in (one, two))
    one.count(spent=4.0)
    two.count(spent=4.5)
    assert not mine.is_used_up and not other.is_used_up
    for history, budget in ((one, mine), (two, other), (one, mine)):
        history.store()
        budget.update()
    # 1.5 is left, half of it for each until they know what the other one spent.
    one.count(spent=0.74)
    two.count(spent=0.76)
    assert not mine.is_used_up and other.is_used_up
    for history, budget in ((one, mine), (two, other), (one, mine)):
        history.store()
        budget.update()
    assert mine.is_used_up and other.is_used_up and mine.spent == other.spent == 10.0
    alone = Budget(settings, memory := History(None), 2, lambda: 0.5, clock)
    memory.count(spent=5.0)
    assert (alone.amount, alone.is_used_up) == (5.0, True)
    for history in (one, two, memory):
        history.close()


def test_money_counts_while_it_is_stored(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "history.db"
    history = History(path)
    budget = Budget(BudgetSettings(amount=5.0), history, 1, lambda: 0.5, clock)
    history.count(spent=5.0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    storing = threading.Thread(target=history.store)
    storing.start()
    until(lambda: not history._sums)
    assert budget.is_used_up and history.since(0.0, "spent") == 5.0
    other.execute("COMMIT")
    storing.join()
    assert history.waiting("spent") == 0.0
    assert budget.spent == history.since(0.0, "spent") == 5.0
    other.close()
    history.close()


def test_a_new_period_begins_with_all_of_its_money(tmp_path: Path, clock: Clock) -> None:
    history = History(None)
    budget = Budget(BudgetSettings(amount=1.0, period="day"), history, 1, lambda: 0.5, clock)
    history.count(spent=2.0)
    history.store()
    budget.update()
    assert budget.is_used_up
    clock.now += 12 * HOUR_S
    budget.update()
    assert not budget.is_used_up


@pytest.mark.parametrize("back_s", [1, HOUR_S, 30 * 24 * HOUR_S, 400 * 24 * HOUR_S])
@pytest.mark.parametrize("period", ["day", "month"])
def test_a_clock_that_is_set_back_moves_no_threshold(clock: Clock, period: Any, back_s: int) -> None:
    history = History(None)
    budget = Budget(BudgetSettings(amount=100.0, period=period), history, 1, lambda: 0.5, clock)
    spend(history, clock, 30, 1.0)
    history.store()
    budget.update()
    before = budget.threshold
    clock.now -= back_s
    history.store()
    budget.update()
    assert budget.threshold == pytest.approx(before)
    clock.now += 5
    budget.update()
    assert budget.threshold is not None and 0.0 <= budget.threshold <= 1.0
    history.close()


def test_the_lowest_threshold_holds_however_much_is_left(clock: Clock) -> None:
    history = History(None)
    budget = Budget(BudgetSettings(amount=1e6, lowest_threshold=0.2), history, 1, lambda: 0.5, clock)
    spend(history, clock, 3, 1.0)
    for _ in range(100):
        clock.now += HOUR_S
        history.store()
        budget.update()
    assert budget.threshold == 0.2


DAMAGE = ["'much'", "x'00ff'", "-1.0", "9e999", "1e300", "'12abc'", "''"]


@pytest.mark.parametrize("value", DAMAGE)
@pytest.mark.parametrize("column", ["spent", "routed", "paced_calls", "requests", "threshold"])
def test_a_damaged_row_is_skipped_and_said(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, column: str, value: str
) -> None:
    history = History(tmp_path / "history.db")
    budget = Budget(BudgetSettings(amount=100.0), history, 1, lambda: 0.5, clock)
    spend(history, clock, 3, 1.0)
    history._db.execute(f"UPDATE hours SET {column} = {value} WHERE at = (SELECT MIN(at) FROM hours)")
    history._db.execute(f"INSERT INTO scores VALUES (?, 3, {value})", (int(clock.now // HOUR_S),))
    said: list[str] = []
    monkeypatch.setattr(
        "pointsman.serve.observability.history.log", lambda event, *_, **__: said.append(event)
    )
    for _ in range(3):
        history.store()
        budget.update()
    assert said == ["history_damaged"]
    assert budget.spent == 2.0
    assert history.recent(24, 60)
    assert budget.threshold is not None and 0.0 <= budget.threshold <= 1.0
    history.close()


@pytest.mark.parametrize("jump_s", [HOUR_S, 400 * 24 * HOUR_S, 50 * 365 * 24 * HOUR_S])
def test_a_clock_that_jumps_ahead_and_back_loses_no_row(tmp_path: Path, clock: Clock, jump_s: int) -> None:
    history = History(tmp_path / "history.db")
    budget = Budget(BudgetSettings(amount=100.0, period="month"), history, 1, lambda: 0.5, clock)
    spend(history, clock, 30, 1.0)
    history.score(0.7)
    history.store()
    before, scores = history.recent(1, 60), dict(history.scores)
    clock.now += jump_s
    history.count(spent=5.0)
    history.store()
    budget.update()
    clock.now -= jump_s
    for _ in range(3):
        history.store()
        budget.update()
    assert history.recent(1, 60) == before and history.scores == scores
    assert budget.spent == 30.0
    history.close()


def test_rows_are_bounded_by_their_number(tmp_path: Path, clock: Clock) -> None:
    history = History(tmp_path / "history.db")
    now = int(clock.now // HOUR_S)
    history._db.execute("BEGIN")
    for table in ("hours", "scores"):
        rest = "0, " * (len(SUMS)) + "NULL" if table == "hours" else "3, 1"
        history._db.executemany(
            f"INSERT INTO {table} VALUES (?, {rest})", [(now - at,) for at in range(1, 4000)]
        )
    history._db.execute("COMMIT")
    history.store()
    found = [
        history._db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("hours", "scores")
    ]
    assert found == [KEPT_HOURS, WINDOW_HOURS + 1]
    history.close()


def test_a_history_is_bounded_and_survives_what_cannot_be_stored(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "history.db"
    history = History(path)
    history.count(requests=1)
    history.store()
    clock.now += 63 * 24 * HOUR_S
    history.count(requests=2)
    history._db.execute("ALTER TABLE hours RENAME TO gone")
    with pytest.raises(Exception, match="no such table"):
        history.store()
    assert history.waiting("requests") == 2
    history._db.execute("ALTER TABLE gone RENAME TO hours")
    history.store()
    assert [hour["requests"] for hour in history.hours.values()] == [2]
    history.close()
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(SettingsError, match=r"server\.history"):
        History(path)
