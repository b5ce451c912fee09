"""G1: every route against its own description, by schemathesis in an environment of its own."""

import asyncio
import json
import secrets
import subprocess

from benchmarks.gateway.bench import Bench
from benchmarks.gateway.measure import Finding, Measure, check, every, none, noted
from benchmarks.gateway.parts.peers import INSTALLED

PROGRAM = INSTALLED / "schemathesis" / "bin" / "schemathesis"
# A schema cannot say that a text must hold a readable letter, so valid requests may be refused.
EXCLUDED = "positive_data_acceptance"
# 503 is a declared answer: overloaded, draining.
SETTINGS = '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", "503"]\n'


@check(
    "G1",
    "Whatever is sent to a route, it answers as its description says",
    reference="a plain FastAPI application: three kinds of 500",
    tests="tests/serve/test_reference.py",
)
async def schemas(bench: Bench) -> Finding:
    """All checks of schemathesis but one, every route, with a key and without; `--demo` upstreams behind."""
    if not PROGRAM.exists():
        return Finding((), remark="schemathesis is not installed here (`make peers`).")
    most = bench.pick(5, 10, 5_000)
    key = secrets.token_hex(32)
    measures: list[Measure] = []
    limits = {"queue_timeout_ms": 10_000}
    async with await bench.gateway({"demo": True, "auth": {"keys": [key]}, "limits": limits}) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        config, report = gateway.folder / "schemathesis.toml", gateway.folder / "fuzz.json"
        config.write_text(SETTINGS, encoding="utf-8")
        for who, headers, excluded in (
            # The key is in a header of ours: schemathesis cannot take it away to see what happens then.
            ("with a key", ["--header", f"authorization: Bearer {key}"], f"{EXCLUDED},ignored_auth"),
            ("without a key", [], EXCLUDED),
        ):
            command = [str(PROGRAM), "--config-file", str(config), "run", f"{url}/openapi.json", "--url", url]
            command += ["--max-examples", str(most), "--seed", str(bench.seed), "--exclude-checks", excluded]
            command += ["--report-json-path", str(report), "--no-color", *headers]
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, check=False, cwd=gateway.folder
            )
            if not report.exists():
                raise RuntimeError(f"schemathesis: {done.stderr[-200:]!r} {done.stdout[-200:]!r}")
            found = json.loads(report.read_text(encoding="utf-8"))
            cases = found["test_cases"]
            for failure in found["failures"]:
                print(f"      {who}: {failure['title']}: {failure['operations']}")
            if found["failures"]:
                print(done.stdout.decode(errors="replace")[:1500])
            measures.append(none(f"violations, {who}", cases["unique_failures"], cases["generated"]))
            measures.append(noted(f"routes, {who}", found["operations"]["tested"]))
            report.unlink()
        measures.append(every("alive afterwards", await gateway.is_alive(), 1))
    return Finding(tuple(measures), (bench.seed,), f"At most {most} cases a route and phase.")
