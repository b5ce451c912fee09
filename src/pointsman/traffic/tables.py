"""The tables of a work folder's database."""

import sqlite3
from pathlib import Path

from pointsman.errors import DataError

FORMAT = 1

_TABLES = """
CREATE TABLE facts(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE queries(id TEXT PRIMARY KEY, place INTEGER NOT NULL, query TEXT NOT NULL, messages TEXT NOT NULL,
  columns TEXT NOT NULL, occurrences INTEGER NOT NULL, weight REAL);
CREATE TABLE calls(key TEXT PRIMARY KEY, role TEXT NOT NULL, url TEXT NOT NULL, model TEXT NOT NULL,
  text TEXT NOT NULL, finish TEXT NOT NULL, tokens_in REAL, tokens_out REAL, seconds REAL, cost REAL);
CREATE TABLE answers(query TEXT, role TEXT, sample INTEGER, call TEXT NOT NULL,
  PRIMARY KEY(query, role, sample));
CREATE TABLE judgements(query TEXT PRIMARY KEY, weak_score REAL NOT NULL, strong_score REAL NOT NULL,
  detail TEXT NOT NULL);
CREATE TABLE labels(number INTEGER PRIMARY KEY, query TEXT UNIQUE NOT NULL, verdict TEXT NOT NULL,
  by TEXT NOT NULL);
"""


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new database, and take the lock.

    Raises:
        DataError: it was written by another version.
    """
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found not in (0, FORMAT):
        raise DataError(
            f"{path.parent} has format {found}; this version of pointsman reads format {FORMAT}. "
            "Collect into a new folder, or use the version that made this one."
        )
    if found == 0 and db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        raise DataError(f"{path} is not a database of pointsman. Collect into a new folder.")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("BEGIN IMMEDIATE")
    if found == 0:
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version={FORMAT}")
    db.execute("COMMIT")
