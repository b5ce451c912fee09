"""G1: every route against its own description, by schemathesis in an environment of its own."""

import asyncio
import json
import secrets
from collections import Counter
from typing import Any

from tests.reliability.suite import check
from tests.support.harness.bench import Bench
from tests.support.harness.measure import Finding, Measure, at_least, every, none, noted
from tests.support.places import PEERS
from tests.support.process import Gateway, pin_nowhere

from pointsman.serve.routes import PUBLIC

PROGRAM = PEERS / "schemathesis" / "bin" / "schemathesis"
# A schema cannot say that a text must hold a readable letter, so valid requests may be refused.
EXCLUDED = "positive_data_acceptance"
# 503 is a declared answer: overloaded, draining.
SETTINGS = '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", "503"]\n'


@check(
    "G1",
    "Whatever is sent to a route, it answers as its description says",
    reference="a plain FastAPI application: three kinds of 500",
    tests="tests/serve/test_openapi.py",
)
async def schemas(bench: Bench) -> Finding:
    """All checks of schemathesis but one, every route, with a key and without; `--demo` upstreams behind."""
    if not PROGRAM.exists():
        return Finding((), remark="schemathesis is not installed here (`nox -s peers`).")
    most = bench.pick(5, 30, 5_000)
    found = await asyncio.gather(_fuzz(bench, most, with_key=True), _fuzz(bench, most, with_key=False))
    remark = (
        f"Drawn at random: {most} cases a route, beside those that cover its description one by one; a route "
        "without a body or a parameter has no more than a few."
    )
    return Finding(tuple(measure for measures in found for measure in measures), (bench.seed,), remark)


async def _fuzz(bench: Bench, most: int, *, with_key: bool) -> list[Measure]:
    """One run against a gateway of its own; what arrived there is counted by the gateway itself."""
    key = secrets.token_hex(32)
    who = "with a key" if with_key else "without a key"
    tree = {"demo": True, "auth": {"keys": [key]}, "limits": {"queue_timeout_ms": 10_000}}
    async with await bench.gateway(tree) as gateway:
        report = await _run(gateway, bench.seed, most, key if with_key else None)
        metrics = await gateway.metrics()
        alive = await gateway.is_alive()
    if report["failures"]:
        print(*(f"      {who}: {f['title']}: {f['operations']}" for f in report["failures"]), sep="\n")
    routes: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for name, value in metrics.items():
        if name.startswith("pointsman_requests_total{"):
            _, route, _, status, _ = name.split('"')
            routes[route] += int(value)
            statuses[status] += int(value)
    fewest = min(routes[route.path] for route in PUBLIC if route.method == "POST")
    cases = report["test_cases"]
    return [
        none(f"violations, {who}", cases["unique_failures"], cases["generated"]),
        none(f"5xx other than 503, {who}", _server_errors(statuses), sum(statuses.values())),
        at_least(f"cases for each route with a body, fewest, {who}", fewest, most),
        noted(f"routes, {who}", report["operations"]["tested"]),
        every(f"alive afterwards, {who}", alive, 1),
    ]


def _server_errors(statuses: Counter[str]) -> int:
    return sum(n for status, n in statuses.items() if status.startswith("5") and status != "503")


async def _run(gateway: Gateway, seed: int, most: int, key: str | None) -> dict[str, Any]:
    url = f"http://127.0.0.1:{gateway.port}"
    config, report = gateway.folder / "schemathesis.toml", gateway.folder / "fuzz.json"
    config.write_text(SETTINGS, encoding="utf-8")
    command = [str(PROGRAM), "--config-file", str(config), "run", f"{url}/openapi.json", "--url", url]
    command += ["--max-examples", str(most), "--seed", str(seed), "--report-json-path", str(report)]
    # Its memory of earlier runs would cost more than the cases; the seed says what they are.
    command += ["--generation-database", "none", "--no-color", "--exclude-checks"]
    # The key is in a header of ours: schemathesis cannot take it away to see what happens then.
    command += (
        [EXCLUDED]
        if key is None
        else [f"{EXCLUDED},ignored_auth", "--header", f"authorization: Bearer {key}"]
    )
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=gateway.folder,
        preexec_fn=pin_nowhere,
    )
    out, err = await process.communicate()
    if not report.exists():
        raise RuntimeError(f"schemathesis: {err[-200:]!r} {out[-200:]!r}")
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    if found["failures"]:
        print(out.decode(errors="replace")[:1500])
    return found
