"""The work folder: one SQLite file that keeps queries, paid answers, judgements and labels.

Each answer is one transaction, so a killed process loses the calls in flight and nothing else. The disk is
synced every few seconds: once an answer costs half of the rate. The process that has the folder open holds
SQLite's own lock on it, which the system releases when the process ends, however it ends.
"""

import errno
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pointsman.errors import InputError
from pointsman.traffic.tables import prepare

FILE = "work.db"
LOCAL_ROLE, CLOUD_ROLE = "local", "cloud"


@dataclass(frozen=True, slots=True)
class Query:
    """One distinct query of the log.

    Attributes:
        id: digest of its messages.
        text: what a router reads of it.
        messages: what is sent to a model.
        columns: the columns of its (first) row, as they were read.
        occurrences: rows of the log that say the same, or nearly.
        weight: how many rows of the log it stands for; None where no answer is asked for.
    """

    id: str
    text: str
    messages: list[dict[str, Any]]
    columns: dict[str, Any]
    occurrences: int
    weight: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint said; `cost` is None where its prices are not known, times are in seconds."""

    text: str
    finish: str
    tokens_in: float
    tokens_out: float
    seconds: float
    cost: float | None
    model: str = ""
    url: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether it says nothing, or a service has refused it."""
        return self.finish in ("refusal", "content_filter") or not self.text.strip()


class Work:
    """An open work folder; only one process has it at a time."""

    def __init__(self, directory: Path, db: sqlite3.Connection) -> None:
        """Take an open database; `Work.open` is the usual door."""
        self.directory = directory
        self._db = db

    @classmethod
    @contextmanager
    def open(cls, directory: Path, *, create: bool = False) -> Iterator[Self]:
        """Open a work folder, and close it at the end of the block.

        Raises:
            InputError: it is no work folder, of another version, or in use by another process.
        """
        path = directory / FILE
        if create:
            directory.mkdir(parents=True, exist_ok=True)
        elif not path.is_file():
            raise InputError(f"{directory} is no work folder: make one with `pointsman collect`.")
        db = sqlite3.connect(path, timeout=1.0, isolation_level=None)
        try:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            prepare(db, path)
            yield cls(directory, db)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                said = f"{directory} is in use by another pointsman command. Wait for its end."
                raise InputError(said) from None
            if not os.access(directory, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
                said = f"{path} cannot be written: it is read-only. Copy the folder to another place"
                raise OSError(errno.EROFS, said) from None
            if "full" in str(error) or "disk I/O" in str(error):
                said = f"{path} cannot be written: {error}. Make room and run the same command again"
                raise OSError(errno.ENOSPC, f"{said}; what was answered before is kept") from None
            raise InputError(f"{path} cannot be used: {error}.") from None
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path} is not a database of pointsman: {error}.") from None
        finally:
            db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything in the block is kept, or nothing; a block inside of another is a part of it."""
        if self._is_changing():
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            if self._is_changing():
                self._db.execute("COMMIT")
        except BaseException:
            if self._is_changing():
                self._db.execute("ROLLBACK")
            raise

    def _is_changing(self) -> bool:
        return self._db.in_transaction

    def take_back(self) -> None:
        """End the transaction, and leave the folder as it was before it."""
        self._db.execute("ROLLBACK")

    def sync(self) -> None:
        """Make what is kept outlive a power cut."""
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    # Facts

    def fact(self, name: str) -> Any:
        """A stored fact; None where there is none."""
        found = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def set_fact(self, name: str, value: Any) -> None:
        """Store a fact, as JSON."""
        text = json.dumps(value, ensure_ascii=False)
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, text))

    # Queries

    def add_queries(self, queries: Iterable[Query]) -> None:
        """Add queries; one that is there gets the new number of occurrences and the new weight."""
        start = self._db.execute("SELECT COUNT(*) FROM queries").fetchone()[0]
        rows = (
            (q.id, start + at, q.text, as_json(q.messages), as_json(q.columns), q.occurrences, q.weight)
            for at, q in enumerate(queries)
        )
        self._db.executemany(
            "INSERT INTO queries VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET "
            "occurrences = excluded.occurrences, weight = COALESCE(excluded.weight, weight)",
            rows,
        )

    def queries(self, *, sampled: bool) -> list[Query]:
        """The queries that answers are asked for, or all others, in the order of the log."""
        test = "IS NOT NULL" if sampled else "IS NULL"
        found = self._db.execute(
            "SELECT id, query, messages, columns, occurrences, weight FROM queries "
            f"WHERE weight {test} ORDER BY place"
        )
        return [Query(i, q, json.loads(m), json.loads(c), n, w) for i, q, m, c, n, w in found]

    # Answers and verdicts

    def paid(self, key: str) -> Answer | None:
        """The kept answer of a call."""
        found = self._db.execute(
            "SELECT text, finish, tokens_in, tokens_out, seconds, cost, model, url FROM calls WHERE key = ?",
            (key,),
        ).fetchone()
        return None if found is None else Answer(*found)

    def keep(self, key: str, role: str, answer: Answer) -> None:
        """Keep a paid answer."""
        self._db.execute(
            "INSERT OR IGNORE INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (key, role, answer.url, answer.model, answer.text, answer.finish,
             answer.tokens_in, answer.tokens_out, answer.seconds, answer.cost),
        )  # fmt: skip

    def set_aside(self, keys: Iterable[str]) -> None:
        """Let calls be asked anew; what they cost stays spent."""
        self._db.executemany(
            "UPDATE calls SET key = 'aside ' || key || ' ' || hex(randomblob(8)) WHERE key = ?",
            [(key,) for key in keys],
        )

    def give(self, query: str, role: str, sample: int, key: str) -> None:
        """Say which kept answer is a query's answer in a role; a judgement of another answer is forgotten."""
        given = query, role, sample, key
        self._db.execute(
            "DELETE FROM judgements WHERE query = ? AND EXISTS (SELECT 1 FROM answers WHERE query = ? "
            "AND role = ? AND sample = ? AND call != ?)",
            (query, *given),
        )
        self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", given)

    def answers(self, role: str) -> dict[str, list[Answer]]:
        """The answers of a role by query id, in the order of their samples."""
        found: dict[str, list[Answer]] = {}
        for query, *values in self._db.execute(
            "SELECT query, text, finish, tokens_in, tokens_out, seconds, cost, model, url FROM answers "
            "JOIN calls ON call = key WHERE answers.role = ? ORDER BY query, sample",
            (role,),
        ):
            found.setdefault(query, []).append(Answer(*values))
        return found

    def models(self, role: str) -> set[str]:
        """The models that were paid for the answers of a role."""
        sql = "SELECT DISTINCT model FROM answers JOIN calls ON call = key WHERE calls.role = ?"
        return {model for (model,) in self._db.execute(sql, (role,))}

    def price(self, role: str, model: str, price_in: float, price_out: float) -> None:
        """Give a role's kept answers of a model the cost of today's prices, per million tokens."""
        self._db.execute(
            "UPDATE calls SET cost = (tokens_in * ? + tokens_out * ?) / 1e6 WHERE model = ? AND "
            "finish != 'lost' AND (role = ? OR key IN (SELECT call FROM answers WHERE role = ?))",
            (price_in, price_out, model, role, role),
        )

    def spent(self, roles: Iterable[str]) -> float:
        """Money paid so far in these roles, in every run."""
        roles = list(roles)
        marks = ",".join("?" * len(roles))
        sql = f"SELECT COALESCE(SUM(cost), 0) FROM calls WHERE role IN ({marks})"
        return float(self._db.execute(sql, roles).fetchone()[0])

    # Judgements and labels

    def judge(self, query: str, weak: float, strong: float, detail: Mapping[str, Any]) -> None:
        """Keep a query's judgement, in place of the one before."""
        self._db.execute(
            "INSERT OR REPLACE INTO judgements VALUES (?, ?, ?, ?)", (query, weak, strong, as_json(detail))
        )

    def judgements(self) -> dict[str, tuple[float, float, dict[str, Any]]]:
        """Weak score, strong score and details by query id."""
        found = self._db.execute("SELECT query, weak_score, strong_score, detail FROM judgements")
        return {query: (weak, strong, json.loads(detail)) for query, weak, strong, detail in found}

    def label(self, query: str, verdict: str, by: str) -> None:
        """Keep a person's verdict (`local`, `cloud`, `tie` or `skip`), in place of the one before."""
        self._db.execute(
            "INSERT OR REPLACE INTO labels(query, verdict, by) VALUES (?, ?, ?)", (query, verdict, by)
        )

    def unlabel(self, by: str) -> str | None:
        """Take the last verdict back; returns its query's id, None where there is none."""
        found = self._db.execute(
            "SELECT number, query FROM labels WHERE by = ? ORDER BY number DESC LIMIT 1", (by,)
        ).fetchone()
        if found is not None:
            self._db.execute("DELETE FROM labels WHERE number = ?", (found[0],))
        return None if found is None else str(found[1])

    def verdicts(self) -> dict[str, str]:
        """A person's verdict by query id, oldest first, skipped ones too."""
        found = self._db.execute("SELECT query, verdict FROM labels ORDER BY number")
        return dict(found.fetchall())


def as_json(value: Any) -> str:
    """A value as one line of JSON; what JSON has no form for as its text."""
    return json.dumps(value, ensure_ascii=False, default=str)
