"""Rows of a log to distinct queries: what is sent to a model, what a router reads, and how often it came."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pointsman.artifact.strict_json import parse_strict
from pointsman.datasets.duplicates import KEY_CHARS, near_duplicate_key
from pointsman.datasets.rows import Columns
from pointsman.errors import DataError
from pointsman.runtime.chat import OPTIONS, options_of, text_of_messages
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
        without_tools: rows of a capture that offered tools which were not written down.
        bad: rows that could not be used, each with where and why.
        captured: rows of a gateway's capture, each with the id of its query; feedback has none.
    """

    queries: list[Query] = field(default_factory=list)
    rows: int = 0
    withheld: int = 0
    without_tools: int = 0
    bad: list[str] = field(default_factory=list)
    captured: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)


def read_log(
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    columns: Columns,
    keeps: Keeps,
    system: str | None,
    bad: list[str],
) -> Log:
    """The distinct queries of rows.

    Args:
        rows: where a row stands (file and line), and its values: text in a column, or `messages`.
        keeps: whether a row is withheld; it is counted and forgotten.
        system: put before messages that have none of their own.
        bad: where and why for each row that cannot be used; `rows` may add to it.

    Raises:
        DataError: none can be used.
    """
    log, seen = Log(bad=bad), dict[str, Query]()
    for where, row in rows:
        if _is_feedback(row):
            log.captured.append(("", row))
            continue
        messages = messages_of(row, columns.query, system)
        if not (text := text_of_messages(messages, columns.chat)):
            bad.append(f"{where}: expected text in {columns.query!r}, or messages with a user's text")
            continue
        log.rows += 1
        if keeps(messages, row):
            log.withheld += 1
            continue
        log.without_tools += bool(row.get("tools_left_out"))
        key = _sameness(messages, row)
        seen[key] = _counted(seen.get(key), text, messages, row)
        if row.get("request_id"):
            log.captured.append((seen[key].id, row))
    log.queries = list(seen.values())
    if not log.rows:
        raise DataError(f"no row can be used: {'; '.join(bad[:5]) or 'there are no rows'}.")
    return log


def _is_feedback(row: Mapping[str, Any]) -> bool:
    """Whether it is about a request of another row."""
    return bool(row.get("request_id")) and "messages" not in row and ("target" in row or "score" in row)


def _counted(known: Query | None, text: str, messages: list[dict[str, Any]], row: Mapping[str, Any]) -> Query:
    """The query with one occurrence more; the first row's words and columns stay."""
    if known is not None:
        return replace(known, occurrences=known.occurrences + 1)
    columns = {name: value for name, value in row.items() if name not in ("messages", "answers")}
    options = row_options(row)
    return Query(query_id([*messages, options] if options else messages), text, messages, columns, 1, None)


def _sameness(messages: list[dict[str, Any]], row: Mapping[str, Any]) -> str:
    """What two rows share that are asked once: of a text alone nearly the same words, else everything."""
    options = row_options(row)
    texts = [text for message in messages if isinstance(text := message.get("content"), str)]
    if options or len(texts) < len(messages) or len(messages) > 2:
        return json.dumps([messages, options])
    # Many logs begin every text with the same template: what a key does not read has to be equal.
    return "\0".join(f"{near_duplicate_key(text)}\0{text[KEY_CHARS:]}" for text in texts)


def row_options(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row asks for beside its messages, as `/chat/completions` says it; values or JSON texts."""
    return options_of({name: _without_nulls(_value(row[name])) for name in OPTIONS if name in row})


def _without_nulls(value: Any) -> Any:
    """A value without the members that a table has for other rows' sake."""
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _value(given: Any) -> Any:
    """A value that a table holds as JSON text."""
    if (isinstance(given, str) and given.lstrip()[:1] in ("[", "{")) or given in ("true", "false"):
        with contextlib.suppress(ValueError):
            return parse_strict(given)
    return given


def messages_of(row: Mapping[str, Any], column: str, system: str | None) -> list[dict[str, Any]]:
    """The chat of a row without its answer, or its text as one user message; empty where it has neither."""
    messages, text = _value(row.get("messages")), row.get(column)
    if isinstance(messages, list) and messages and all(isinstance(m, dict) for m in messages):
        asked = [at for at, message in enumerate(messages) if message.get("role") != "assistant"]
        found = [_without_nulls(message) for message in messages[: max(asked, default=-1) + 1]]
    elif isinstance(text, str) and text.strip():
        found = [{"role": "user", "content": text.strip()}]
    else:
        return []
    if system and not any(m.get("role") in ("system", "developer") for m in found):
        found.insert(0, {"role": "system", "content": system})
    return found


def query_id(messages: list[dict[str, Any]]) -> str:
    """A short digest of a chat, which is its name in a work folder."""
    text = json.dumps(messages, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
