"""Figures by the hour, kept in a SQLite file or in memory: for the page's days and for budgets.

Each process adds what it counted in one transaction every few seconds and reads what all have counted.
Several share a file, and one that is killed loses those seconds. Rows are bounded by their number and not by
the clock, which may jump ahead and back; what lies in the future is not read.
"""

import logging
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from pointsman.errors import SettingsError
from pointsman.pacing import HOUR_S, WINDOW_HOURS, score_bin
from pointsman.serve.logs import log

KEPT_HOURS = 62 * 24
"""Two months: a budget's month is whole in it."""
SUMS = (
    *("requests", "errors", "local", "cloud", "spent", "saved", "captured", "labels"),
    *("cloud_calls", "cloud_cost", "local_calls", "local_cost"),
    *("routed", "paced_calls", "paced_cost", "shadow_cost"),
)
"""What is counted; money in the unit of the prices."""
SHOWN = SUMS[:12]
"""What the page shows."""
_LAST = "threshold"
_COLUMNS = ", ".join(f"{name} REAL NOT NULL" for name in SUMS)
_TABLES = f"""
CREATE TABLE IF NOT EXISTS hours(at INTEGER PRIMARY KEY, {_COLUMNS}, {_LAST} REAL);
CREATE TABLE IF NOT EXISTS scores(at INTEGER, bin INTEGER, count INTEGER NOT NULL, PRIMARY KEY(at, bin));
"""
_ADD_HOUR = (
    f"INSERT INTO hours VALUES ({', '.join('?' * (len(SUMS) + 2))}) ON CONFLICT(at) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)
    + f", {_LAST} = COALESCE(excluded.{_LAST}, {_LAST})"
)
_ADD_SCORE = (
    "INSERT INTO scores VALUES (?, ?, ?) ON CONFLICT(at, bin) DO UPDATE SET count = count + excluded.count"
)

_MOST = 1e15

Hours = dict[int, dict[str, float]]


class History:
    """The last two months by the hour.

    Args:
        path: of the file; None keeps everything in memory, for this process alone.

    Raises:
        SettingsError: the file cannot be used.

    Attributes:
        hours: number of the hour since the epoch to its figures, as of the last `store`.
        scores: number of p_cloud in each bin of the last week, likewise.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock, self._storing = threading.Lock(), threading.Lock()
        self._sums: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._in_store: Mapping[int, Counter[str]] = {}
        self._scores: Counter[tuple[int, int]] = Counter()
        self._threshold: float | None = None
        self._damaged = 0
        self._stored: dict[tuple[int, str], float] = {}
        self.hours: Hours = {}
        self.scores: dict[int, int] = {}
        try:
            self._db = sqlite3.connect(
                path or ":memory:", timeout=10.0, isolation_level=None, check_same_thread=False
            )
            if path is not None:
                self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_TABLES)
            self.store()
        except sqlite3.Error as error:
            raise SettingsError(f"server.history: {path} cannot be used: {error}.") from None

    def count(self, **amounts: float) -> None:
        """Add to the present hour; names are those of `SUMS`."""
        with self._lock:
            self._sums[_hour()].update(amounts)

    def score(self, p_cloud: float) -> None:
        """Count a query that the threshold decided."""
        with self._lock:
            self._sums[_hour()]["routed"] += 1
            self._scores[_hour(), score_bin(p_cloud)] += 1

    def note_threshold(self, threshold: float) -> None:
        """Keep the budget's threshold of this hour."""
        self._threshold = threshold

    def waiting(self, name: str) -> float:
        """The sum that is not in `hours` yet, also while it is being stored."""
        with self._lock:
            return float(sum(sums[name] for sums in (*self._sums.values(), *self._in_store.values())))

    def since(self, begin_s: float, name: str) -> float:
        """The sum from a moment on."""
        return self.waiting(name) + self.stored(begin_s, name)

    def stored(self, begin_s: float, name: str) -> float:
        """The same without what waits."""
        sums, first = self._stored, int(begin_s // HOUR_S)
        if (first, name) not in sums:
            sums[first, name] = sum(hour[name] for at, hour in self.hours.items() if at >= first)
        return sums[first, name]

    def left(self, amount: float, begin_s: float, name: str, processes: int) -> float:
        """What this process may still add to a sum from a moment on, so that all stay within an amount.

        With a file, each may take an equal part of what was left at the last `store`: it cannot know what the
        others have added since. Without one, each has an equal part of the amount.
        """
        # What waits is read first: while it is stored it may count twice, and never not at all.
        waiting, stored = self.waiting(name), self.stored(begin_s, name)
        shared = amount - stored if self.path is not None else amount
        return shared / processes - waiting - (stored if self.path is None else 0.0)

    def store(self) -> None:
        """Add what was counted, forget what is old, and read all; blocks, at most for seconds.

        Raises:
            sqlite3.Error: what was counted waits for the next time.
        """
        with self._storing:
            self._store()

    def _store(self) -> None:
        with self._lock:
            sums, self._sums = self._sums, defaultdict(Counter)
            self._in_store = sums
            scores, self._scores = self._scores, Counter()
        try:
            self._add(sums, scores)
        except BaseException:
            with self._lock:
                self._in_store = {}
                for at, counts in sums.items():
                    self._sums[at].update(counts)
                self._scores.update(scores)
            raise
        names, now = ("at", *SUMS, _LAST), _hour()
        kept = (now - KEPT_HOURS, now)
        found = self._db.execute(
            f"SELECT {', '.join(names)} FROM hours WHERE at > ? AND at <= ?", kept
        ).fetchall()
        sound = [
            row for row in found if _is_sound(*row[:-1]) and (row[-1] is None or _is_sound(row[-1], most=1.0))
        ]
        query = "SELECT bin, SUM(count) FROM scores WHERE at > ? AND at <= ? GROUP BY bin"
        counted = self._db.execute(query, (now - WINDOW_HOURS, now)).fetchall()
        bins = {number: count for number, count in counted if isinstance(number, int) and _is_sound(count)}
        with self._lock:
            self._in_store = {}
            self.hours = {at: dict(zip(names[1:], values, strict=True)) for at, *values in sound}
            self._stored = {}
        self.scores = bins
        self._say_damaged(len(found) - len(sound) + len(counted) - len(bins))

    def _say_damaged(self, rows: int) -> None:
        if rows > self._damaged:
            log("history_damaged", logging.WARNING, rows_skipped=rows)
        self._damaged = rows

    def recent(self, span_hours: int, count: int) -> list[list[float]]:
        """The last `count` spans: begin in seconds since the epoch, and the figures of `SHOWN`."""
        first = _hour() // span_hours - count
        rows = [
            [at // span_hours * span_hours * HOUR_S, *(hour[name] for name in SHOWN)]
            for at, hour in self.hours.items()
            if at // span_hours > first
        ]
        return added([rows])

    def close(self) -> None:
        """Store the rest, and close the file."""
        self.store()
        self._db.close()

    def _add(self, sums: Mapping[int, Counter[str]], scores: Counter[tuple[int, int]]) -> None:
        now = _hour()
        rows: list[list[float | None]] = [
            [at, *(counts[name] for name in SUMS), None] for at, counts in sums.items()
        ]
        if self._threshold is not None:
            rows.append([now, *(0.0 for _ in SUMS), self._threshold])
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(_ADD_HOUR, rows)
            self._db.executemany(_ADD_SCORE, [(at, number, n) for (at, number), n in scores.items()])
            for table, kept in (("hours", KEPT_HOURS), ("scores", WINDOW_HOURS + 1)):
                newest = f"SELECT DISTINCT at FROM {table} ORDER BY at DESC LIMIT {kept}"
                self._db.execute(f"DELETE FROM {table} WHERE at < (SELECT MIN(at) FROM ({newest}))")
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise


def added(parts: Iterable[Sequence[Sequence[float]]]) -> list[list[float]]:
    """Rows of `recent` of several processes, those of one time added up, the oldest first."""
    whole: dict[float, list[float]] = {}
    for at, *figures in chain.from_iterable(parts):
        known = whole.get(at, [0.0] * len(figures))
        whole[at] = [a + b for a, b in zip(known, figures, strict=True)]
    return [[at, *figures] for at, figures in sorted(whole.items())]


def _is_sound(*values: object, most: float = _MOST) -> bool:
    """Whether these are numbers that this file can have written."""
    return all(isinstance(value, int | float) and 0.0 <= value <= most for value in values)


def _hour() -> int:
    return int(time.time() // HOUR_S)
