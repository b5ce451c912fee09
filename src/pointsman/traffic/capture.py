"""What a gateway captured: answers that were paid already, and what users said about answers.

A captured row is `request_id`, `messages`, and, where both models were asked, `answers` with `local` and
`cloud`, each of `text`, `model`, `tokens_in`, `tokens_out`, `seconds`, `cost`. A feedback row is `request_id`
and `target`: `cloud` where the cloud was needed, `local` where the local answer was enough.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pointsman.datasets.records import decode_json, line_records
from pointsman.errors import DataError
from pointsman.traffic.log import Log
from pointsman.traffic.work import CLOUD_ROLE, LOCAL_ROLE, Answer, Work

_FEEDBACK = {"local": "tie", "cloud": "cloud"}
"""A local answer that was enough is as good as the cloud's, for a router."""
USER = "user"


def capture_rows(paths: Iterable[Path], bad: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of captured files (JSON lines), with where they stand; `bad` gets those that are no rows.

    A torn last line, as a killed gateway leaves it, is one of those.

    Raises:
        DataError: a file cannot be read.
    """
    for path in paths:
        try:
            with path.open("rb") as stream:
                for number, line in line_records(stream):
                    try:
                        row = decode_json((line or b"").decode())
                    except ValueError:
                        row = None
                    if isinstance(row, dict):
                        yield f"{path.name}:{number}", row
                    else:
                        bad.append(f"{path.name}:{number}: expected a JSON object")
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from None


def take_captured(work: Work, log: Log) -> set[tuple[str, str]]:
    """Keep captured answers and feedback; returns (query id, role) of every answer that need not be asked."""
    known = {query.id for query in work.queries(sampled=True)}
    asked = {row["request_id"]: query for query, row in log.captured if query in known}
    taken: set[tuple[str, str]] = set()
    with work.transaction():
        for query, row in log.captured:
            about = asked.get(row["request_id"])
            if not query and about and row.get("target") in _FEEDBACK:
                work.label(about, _FEEDBACK[row["target"]], USER)
            answers = row.get("answers")
            if query not in known or not isinstance(answers, Mapping):
                continue
            for role in (LOCAL_ROLE, CLOUD_ROLE):
                if isinstance(answer := answers.get(role), Mapping) and isinstance(answer.get("text"), str):
                    key = f"captured {row['request_id']} {role}"
                    work.keep(key, "captured", _answer(answer))
                    work.give(query, role, 0, key)
                    taken.add((query, role))
    return taken


def _answer(found: Mapping[str, Any]) -> Answer:
    def number(name: str) -> float:
        value = found.get(name)
        return float(value) if isinstance(value, int | float) else 0.0

    cost = number("cost") if found.get("cost") is not None else None
    finish, model = str(found.get("finish", "stop")), str(found.get("model", ""))
    return Answer(
        found["text"], finish, number("tokens_in"), number("tokens_out"), number("seconds"), cost, model
    )
