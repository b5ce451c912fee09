"""What a gateway captured: answers that were paid already, and what users said about answers.

A captured row is `request_id`, `messages`, and, where both models were asked, `answers` with `local` and
`cloud`, each of `text`, `model`, `tokens_in`, `tokens_out`, `seconds`, `cost`. A feedback row is `request_id`
and `target`: `cloud` where the cloud was needed, `local` where the local answer was enough; or `score`, 0 to
1, of the answer that the client got, which counts where the local model gave it (`served`).
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pointsman.datasets.records import decode_json, line_records
from pointsman.errors import DataError
from pointsman.traffic.log import Log
from pointsman.traffic.work import CLOUD_ROLE, LOCAL_ROLE, Answer, Work

ENOUGH, NEEDED = "tie", "cloud"
"""A local answer that was enough is as good as the cloud's, for a router."""
USER = "user"
_GOOD = 0.5


def captured_files(path: Path) -> list[Path]:
    """A captured file, the one that it replaced, and the feedback beside both, where they are there.

    Raises:
        DataError: the file itself is not there.
    """
    if not path.is_file():
        raise DataError(f"{path} is no captured file.")
    beside = path.with_name(f"{path.stem}.feedback{path.suffix}")
    names = (path.with_name(f"{path.name}.1"), path, beside.with_name(f"{beside.name}.1"), beside)
    return [name for name in names if name.is_file()]


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
    taken: set[tuple[str, str]] = set()
    with work.transaction():
        for query, votes in _votes(log, known).items():
            work.label(query, NEEDED if 2 * votes.count(NEEDED) >= len(votes) else ENOUGH, USER)
        for query, row in log.captured:
            answers = row.get("answers")
            if query not in known or not isinstance(answers, Mapping):
                continue
            for role in (LOCAL_ROLE, CLOUD_ROLE):
                if isinstance(answer := answers.get(role), Mapping) and isinstance(answer.get("text"), str):
                    key = f"captured {row['request_id']} {role}"
                    kept = _answer(answer)
                    if role == CLOUD_ROLE and not kept.cost:
                        kept = replace(kept, cost=None)  # the gateway knew no price
                    work.keep(key, "captured", kept)
                    work.give(query, role, 0, key)
                    taken.add((query, role))
    return taken


def _votes(log: Log, known: Container[str]) -> dict[str, list[str]]:
    """What users said of each query, the last word on each request."""
    asked = {row["request_id"]: (query, row.get("served")) for query, row in log.captured if query in known}
    said = {row["request_id"]: row for query, row in log.captured if not query}
    votes: dict[str, list[str]] = {}
    for request, row in said.items():
        query, served = asked.get(request, ("", None))
        target, score = row.get("target"), row.get("score")
        if target is None and isinstance(score, int | float) and served == LOCAL_ROLE:
            target = LOCAL_ROLE if score >= _GOOD else CLOUD_ROLE
        if query and target in (LOCAL_ROLE, CLOUD_ROLE):
            votes.setdefault(query, []).append(NEEDED if target == CLOUD_ROLE else ENOUGH)
    return votes


def _answer(found: Mapping[str, Any]) -> Answer:
    def number(name: str) -> float:
        value = found.get(name)
        return float(value) if isinstance(value, int | float) else 0.0

    cost = number("cost") if found.get("cost") is not None else None
    finish, model = str(found.get("finish", "stop")), str(found.get("model", ""))
    return Answer(
        found["text"], finish, number("tokens_in"), number("tokens_out"), number("seconds"), cost, model
    )
