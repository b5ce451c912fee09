"""L: calls that are paid, from a log to scores: none twice, none over the budget, no private text."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.reliability.suite import check
from tests.support.fake_models import FakeModel, Models, fake_models, log_of, refused
from tests.support.harness.bench import Bench
from tests.support.harness.measure import Finding, none, noted, reaches
from tests.support.keyword_forms import FORMS, KEYWORDS, positives
from tests.support.openai_messages import completion, whole
from tests.support.process import SERVER_CORE, environment_without_settings, pin

from pointsman.serve.routing.request_text import RequestText
from pointsman.serve.routing.rules import compile_rules, first_match
from pointsman.serve.settings import Rule

AT_ONCE = 8
CALL_COST = 0.003
"""Of the fake cloud: 1,000 prompt and 500 completion tokens at 1 and 4 a million."""
NUMBER = "123-45-6789"
PATTERN = r"\b\d{3}-\d{2}-\d{4}\b"


@dataclass(frozen=True)
class Chain:
    """A folder with a log and a configuration, and the three models.

    Attributes:
        place: the folder.
        models: of known truth.
    """

    place: Path
    models: Models

    @property
    def paid(self) -> int:
        """Calls that arrived at any model."""
        return sum(len(model.seen) for model in (self.models.local, self.models.cloud, self.models.judge))

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """One command of the chain, on the core of the servers."""
        common = {
            "collect": ["log.jsonl", "--config", "gateway.toml", "--output", "work"],
            "judge": ["work", *self.models.judging()],
        }
        command = [sys.executable, "-m", "pointsman", words[0], *common[words[0]], "--yes", *words[1:]]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(
            [*command, "--concurrency", str(AT_ONCE)] if "--concurrency" not in words else command,
            cwd=self.place,
            env=environment_without_settings({}),
            preexec_fn=lambda: pin(SERVER_CORE) and None,
            **quiet,
        )

    def run(self, *words: str) -> int:
        """The same to its end; returns the exit code."""
        return self.start(*words).wait(300)

    def rows(self) -> list[dict[str, Any]]:
        """The rows with scores."""
        return [json.loads(line) for line in (self.place / "work" / "judged.jsonl").read_text().splitlines()]


@contextmanager
def chain(rows: list[dict[str, Any]], delay_s: float = 0.0, extra: str = "") -> Iterator[Chain]:
    """A folder with these rows as its log."""
    with (
        tempfile.TemporaryDirectory(prefix="pointsman-harness-") as folder,
        fake_models(delay_s) as models,
    ):
        place = Path(folder)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (place / "log.jsonl").write_text(text, encoding="utf-8")
        (place / "gateway.toml").write_text(models.config(extra), encoding="utf-8")
        yield Chain(place, models)


@check(
    "L1",
    "`kill -9` while models are asked loses the calls in flight and nothing else",
    tests="tests/traffic/test_interrupted.py",
)
async def killed(bench: Bench) -> Finding:
    """`collect` and then `judge`, each killed after a number of calls by chance, and run again."""
    n = bench.pick(1, 10, 20)
    draw, queries = bench.random("L1"), 40
    found = [await asyncio.to_thread(_killed_once, draw, queries) for _ in range(n)]
    commands = 2 * n
    lost = sum(queries - len({row["query"] for row in rows}) for _, rows in found)
    doubled = sum(len(rows) - len({row["query"] for row in rows}) for _, rows in found)
    repeated = [again for agains, _ in found for again in agains]
    return Finding(
        (
            none(
                "calls repeated beyond those in flight", sum(max(0, a - AT_ONCE) for a in repeated), commands
            ),
            none("rows lost", lost, n * queries),
            none("rows doubled", doubled, n * queries),
            noted(f"calls repeated, of {AT_ONCE} in flight", sum(repeated) / commands, "a kill", commands),
        ),
        (bench.seed,),
    )


def _killed_once(draw: Random, queries: int) -> tuple[list[int], list[dict[str, Any]]]:
    """Calls that were made again after each of both kills, and the rows."""
    repeated = []
    with chain([{"query": query} for query in log_of(queries, draw.randrange(2**31))], delay_s=0.05) as at:
        for command in ("collect", "judge"):
            before, calls = at.paid, 2 * queries
            running = at.start(command)
            _wait_for(partial(_has_paid, at, before + draw.randint(1, calls - 1)))
            os.kill(running.pid, signal.SIGKILL)
            running.wait()
            _require(at.run(command) == 0, f"{command} does not go on")
            repeated.append(at.paid - before - calls)
        return repeated, at.rows()


@check(
    "L2",
    "A budget is not exceeded by more than the calls in flight, whatever the endpoint does",
    tests="tests/traffic/test_asking.py",
)
async def budgets(bench: Bench) -> Finding:
    """Budgets by chance, and a cloud that rate-limits, breaks, is late, or sends what cannot be read."""
    kinds = [*UNEVEN]
    n = bench.pick(2, 3 * len(kinds), 3 * len(kinds))
    draw = bench.random("L2")
    over = [await asyncio.to_thread(_overspent, draw, kinds[at % len(kinds)]) for at in range(n)]
    unpriced = await asyncio.to_thread(_without_prices)
    return Finding(
        (
            none("runs over the budget and the calls in flight", sum(calls > AT_ONCE for calls in over), n),
            noted(f"most calls over a budget, of {AT_ONCE} in flight", max(over), "calls", n),
            none("calls with a budget and without prices", unpriced, 1),
        ),
        (bench.seed,),
    )


def _late(number: int) -> bytes | None:
    time.sleep(0.6 if number % 6 == 0 else 0.0)
    return None


UNEVEN: dict[str, Callable[[int], bytes | None]] = {
    "cut off": lambda number: whole(completion("fine")[:-7]) if number % 4 == 0 else None,
    "late": _late,
    "fine": lambda number: None,
    "rate-limited": lambda number: refused(429, "slow", "retry-after: 0\r\n") if number % 2 else None,
    "rate-limited without a time": lambda number: refused(429, "slow") if number % 9 == 0 else None,
    "broken": lambda number: refused(503, "broken", "retry-after-ms: 1\r\n") if number % 3 == 0 else None,
}
"""What the cloud does to its calls, by their number: an error, or what may have been paid."""


def _overspent(draw: Random, kind: str) -> float:
    """By how many calls a budget was exceeded; each that was answered with status 200 is paid."""
    budget, paid = draw.uniform(0.01, 0.15), [0]

    def fails(number: int) -> bytes | None:
        answer = UNEVEN[kind](number)
        paid[0] += answer is None or b"200" in answer[:20]
        return answer

    extra = "first_byte_timeout_s = 0.3\n" if kind == "late" else ""
    with chain([{"query": query} for query in log_of(60, draw.randrange(2**31))], 0.01, extra) as at:
        at.models.cloud.failing = fails
        for _ in range(3):
            at.run("collect", "--budget", str(budget))
    return paid[0] - budget / CALL_COST


def _without_prices() -> int:
    with chain([{"query": "add two"}]) as at:
        (at.place / "gateway.toml").write_text(at.models.config(prices=""))
        _require(at.run("collect", "--budget", "1") == 2, "a budget without prices is taken")
        return at.paid


@check(
    "L3",
    "Text under a local-only rule, and what is redacted, is sent to no model and to no judge",
    tests="tests/traffic/test_privacy.py",
)
async def private(bench: Bench) -> Finding:
    """Private and redacted texts in every form, as rows and as references, among others that are asked."""
    n = bench.pick(50, 500, 500)
    draw = bench.random("L3")
    rows = [case.body for case in positives(bench.seed, n) if "messages" in case.body]
    rows += [{"query": f"read {FORMS[draw.choice([*FORMS])](NUMBER, draw)} please"} for _ in range(n)]
    private_rows, clean = len(rows), [{"query": f"{query} {at}"} for at, query in enumerate(log_of(n, 1))]
    said = [case.keyword for case in positives(bench.seed, n)]
    for row, keyword in zip(clean[::2], said, strict=False):
        row["right"] = f"ask for {keyword} or {NUMBER}"
    for row in clean[1::2]:
        row["right"] = "a sound answer"
    rule = (
        f'[[routing.rules]]\nname = "private"\nsend = "local-only"\nkeywords = {json.dumps(list(KEYWORDS))}\n'
    )
    extra = f"{rule}[capture]\nredact = ['{PATTERN}']\n"
    heard = await asyncio.to_thread(_heard, [*rows, *clean], extra)
    wanted = compile_rules(
        [
            Rule(name="private", send="local-only", keywords=KEYWORDS),
            Rule(name="redacted", send="local-only", pattern=PATTERN),
        ]
    )
    found = sum(first_match(wanted, RequestText(body, frozenset())) is not None for body in heard)
    return Finding(
        (
            none("calls with a private or redacted text", found, len(heard)),
            noted("private rows in the log", private_rows),
        ),
        (bench.seed,),
    )


def _heard(rows: list[dict[str, Any]], extra: str) -> list[dict[str, Any]]:
    """What the three models were asked: answers, verdicts on pairs, and verdicts by the reference."""
    with chain(rows, extra=extra) as at:
        _require(at.run("collect") == 0, "collect failed")
        _require(at.run("judge") == 0, "judge failed")
        at.models.judge.says = lambda text: "VERDICT: CORRECT"
        by_reference = ("--mode", "reference", "--expected", "right", "--again")
        _require(at.run("judge", *by_reference) == 0, "judge by reference failed")
        models: list[FakeModel] = [at.models.local, at.models.cloud, at.models.judge]
        return [wire.json for model in models for wire in model.wires]


@check(
    "L4",
    "Many calls in flight come near the rate that the endpoints allow",
    tests="tests/traffic/test_asking.py",
)
async def rate(bench: Bench) -> Finding:
    """Two models of 200 ms, 32 calls in flight; from the first call's arrival to the last one's."""
    queries, latency_s, at_once = bench.pick(100, 600, 600), 0.2, 32
    share = await asyncio.to_thread(_rate_share, queries, latency_s, at_once)
    return Finding(
        (reaches(f"share of the ideal rate, {at_once / latency_s:.0f}/s", share, 0.9, n=2 * queries),),
    )


def _rate_share(queries: int, latency_s: float, at_once: int) -> float:
    with chain([{"query": f"question {at} of the day"} for at in range(queries)], latency_s) as at:
        running = at.start("collect", "--concurrency", str(at_once))
        _wait_for(lambda: at.paid > 0)
        began = time.monotonic()
        _wait_for(lambda: at.paid >= 2 * queries)
        took_s = time.monotonic() - began + latency_s
        _require(running.wait(60) == 0, "collect failed")
    return 2 * queries / took_s / (at_once / latency_s)


def _has_paid(at: Chain, calls: int) -> bool:
    return at.paid >= calls


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        _require(time.monotonic() < deadline, "no call arrived in time")
        time.sleep(0.002)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
