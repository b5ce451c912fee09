"""Rows of a log to distinct queries: what is sent to a model, what a router reads, and how often it came."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pointsman.artifact.manifest import Chat
from pointsman.artifact.strict_json import parse_strict
from pointsman.datasets.duplicates import near_duplicate_key
from pointsman.errors import DataError
from pointsman.runtime.chat import text_of_messages
from pointsman.traffic.work import Query

Keeps = Callable[[list[dict[str, Any]], Mapping[str, Any]], bool]
"""Whether the messages of a row, beside its columns, may not go to both models."""


@dataclass(slots=True)
class Log:
    """The distinct queries of a log, in its order.

    Attributes:
        queries: each with its number of occurrences, near duplicates counted together; no weights yet.
        rows: rows that were read.
        withheld: rows that a rule or a redaction withholds; they are in no other number, and sent nowhere.
        bad: rows that could not be used, each with where and why.
        captured: rows of a gateway's capture, each with the id of its query; feedback has none.
    """

    queries: list[Query] = field(default_factory=list)
    rows: int = 0
    withheld: int = 0
    bad: list[str] = field(default_factory=list)
    captured: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)


def read_log(
    rows: Iterable[tuple[str, Mapping[str, Any]]], column: str, chat: Chat, keeps: Keeps, system: str | None
) -> Log:
    """The distinct queries of rows.

    Args:
        rows: where a row stands (file and line), and its values: text under `column`, or `messages`.
        column: the column of the text.
        chat: how many earlier user messages a router reads with the last one.
        keeps: whether a row is withheld; it is counted and forgotten.
        system: put before the messages where they have no system message of their own.

    Raises:
        DataError: not one row can be used.
    """
    log = Log()
    seen: dict[str, Query] = {}
    for where, row in rows:
        if row.get("request_id") and "messages" not in row and ("target" in row or "score" in row):
            log.captured.append(("", row))  # feedback: about a request of another row
            continue
        messages = messages_of(row, column)
        text = "" if messages is None else text_of_messages(messages, chat)
        if messages is None or not text:
            log.bad.append(f"{where}: expected text in {column!r}, or messages with a user's text")
            continue
        log.rows += 1
        if system and not any(m.get("role") in ("system", "developer") for m in messages):
            messages = [{"role": "system", "content": system}, *messages]
        if keeps(messages, row):
            log.withheld += 1
            continue
        key = near_duplicate_key(text) if len(messages) <= 2 else json.dumps(messages)
        seen[key] = _counted(seen.get(key), text, messages, row)
        if row.get("request_id"):
            log.captured.append((seen[key].id, row))
    log.queries = list(seen.values())
    if not log.rows:
        raise DataError(f"no row can be used: {'; '.join(log.bad[:5]) or 'there are no rows'}.")
    return log


def _counted(known: Query | None, text: str, messages: list[dict[str, Any]], row: Mapping[str, Any]) -> Query:
    """The query with one occurrence more; the first row's words and columns stay."""
    if known is not None:
        return replace(known, occurrences=known.occurrences + 1)
    columns = {name: value for name, value in row.items() if name not in ("messages", "answers")}
    return Query(query_id(messages), text, messages, columns, 1, None)


def messages_of(row: Mapping[str, Any], column: str) -> list[dict[str, Any]] | None:
    """The chat of a row: its `messages`, or its text as one user message; None where it has neither."""
    messages = row.get("messages")
    if isinstance(messages, str) and messages.lstrip().startswith("["):
        try:
            messages = parse_strict(messages)
        except ValueError:
            messages = None
    if isinstance(messages, list) and messages and all(isinstance(m, dict) for m in messages):
        return [dict(message) for message in messages]
    text = row.get(column)
    if isinstance(text, str) and text.strip():
        return [{"role": "user", "content": text.strip()}]
    return None


def query_id(messages: list[dict[str, Any]]) -> str:
    """A short digest of a chat, which is its name in a work folder."""
    text = json.dumps(messages, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
