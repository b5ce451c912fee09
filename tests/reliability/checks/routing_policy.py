"""B: whom a request may reach when something is broken: privacy first, then the operator's default."""

import asyncio
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.reliability.suite import check
from tests.support import wire
from tests.support.fault_upstream import Script, answers, hangs, resets
from tests.support.harness.bench import Bench
from tests.support.harness.fronts import BOTH_WAYS, NEVER_OPEN, at_once, fronting
from tests.support.harness.measure import Finding, every, none
from tests.support.keyword_artifact import build_keyword_artifact
from tests.support.keyword_forms import KEYWORDS, Case, negatives, positives

SECRET = "canary-private-5e1f"


def faults() -> dict[str, Script]:
    """Ways in which the local upstream is of no use."""
    return {
        "fine": answers(),
        "reset": resets,
        "silent": hangs,
        "500": answers(b"{}", 500),
        "429": answers(b"{}", 429, "retry-after: 1\r\n"),
        "302": answers(b"", 302, "location: http://127.0.0.1:9/\r\n"),
        "no JSON": answers(b"oops"),
    }


def ways() -> list[tuple[dict[str, str], dict[str, object]]]:
    """Headers and fields of a request that is local-only: by its header, or by a rule over its text."""
    by_hint = {"x-pointsman-policy": "local-only"}
    return [
        (headers, {"model": model, "stream": streams, "messages": [{"role": "user", "content": text}]})
        for headers, text in (
            (by_hint, f"{SECRET} compare three strategies"),
            ({}, f"payroll: {SECRET} compare three strategies"),
            ({"x-pointsman-policy": "cloud-only"}, f"the Payroll of {SECRET}"),
            ({}, f"\uff30ay\u200broll {SECRET}"),
            ({}, f"hello PAYROLL {SECRET}"),
        )
        for model in ("auto", "cloud", "router-0.0", "cloud-model")
        for streams in (False, True)
    ]


@check(
    "B13",
    "Text that is local-only never reaches the cloud, whatever breaks",
    tests="tests/serve/test_fallback.py::TestLocalOnly",
)
async def local_only(bench: Bench) -> Finding:
    """Every policy, model name, fault and answer, with hedging; the cloud must not even be connected to."""
    n = bench.pick(140, 700, 2000)
    rules = [{"name": "private", "send": "local-only", "keywords": ["payroll"]}]
    leave = {"fallback": BOTH_WAYS, "hedge_after_s": 0.05}
    routing = {**leave, "rules": rules, "default_target": "cloud", "cloud_threshold": 0.1}
    upstream = {"first_byte_timeout_s": 0.3, "breaker_failures": 3, "breaker_open_s": 0.05}
    cases = list(itertools.islice(itertools.cycle(itertools.product(faults().items(), ways())), n))
    bench.random("B13").shuffle(cases)
    explained = 0
    async with fronting(bench, upstream=upstream, routing=routing) as front:
        scripts = faults()

        async def by_name(call: object) -> None:
            await scripts[call.headers["x-request-id"].partition(".")[2]](call)  # type: ignore[attr-defined, arg-type]

        front.local.script = by_name

        async def one(index: int) -> wire.Answer:
            (name, _), (headers, fields) = cases[index]
            headers = {**headers, "x-request-id": f"r{index}.{name.replace(' ', '_')}"}
            return await front.ask(wire.request("/v1/chat/completions", json.dumps(fields).encode(), headers))

        scripts |= {name.replace(" ", "_"): script for name, script in faults().items()}
        for answer in await at_once(one, range(n), 12):
            explained += answer.is_whole and answer.status in (200, 429, 503)
        reached, connected = len(front.cloud.seen), front.cloud.connections
    return Finding(
        (
            none("requests at the cloud", reached, n),
            none("connections to the cloud", connected, n),
            every("answered, or told why not", explained, n),
        ),
        (bench.seed,),
    )


@check(
    "B18",
    "Text under a local-only rule stays local, in any form and anywhere in a request",
    tests="tests/serve/test_request_text.py",
)
async def every_form(bench: Bench) -> Finding:
    """Twenty keywords in each form, in places by chance, and what only looks like one; always for `cloud`."""
    n = bench.pick(600, 2_600, 20_000)
    forms, others = list(positives(bench.seed, n)), list(negatives(bench.seed, n))
    rules = [{"name": "private", "send": "local-only", "keywords": list(KEYWORDS)}]
    routing = {"rules": rules, "fallback": BOTH_WAYS, "hedge_after_s": 5.0}
    async with fronting(bench, routing=routing) as front:

        async def ask(case: Case) -> wire.Answer:
            body = json.dumps({**case.body, "model": "cloud"}).encode()
            return await front.ask(wire.request("/v1/chat/completions", body))

        answers_to_forms = await at_once(lambda index: ask(forms[index]), range(n), 12)
        left, connected = len(front.cloud.seen), front.cloud.connections
        answers_to_others = await at_once(lambda index: ask(others[index]), range(n), 12)
    kept = sum(answer.headers.get("x-pointsman-target") == "local" for answer in answers_to_others)
    answered = sum(answer.status == 200 for answer in (*answers_to_forms, *answers_to_others))
    return Finding(
        (
            none("requests at the cloud", left, n),
            none("connections to the cloud", connected, n),
            none("kept without cause", kept, n),
            every("answered", answered, 2 * n),
        ),
        (bench.seed,),
    )


@check(
    "B14",
    "A classifier that fails costs no chat: the default target answers, and says so",
    tests="tests/serve/test_classifier_failure.py",
)
async def no_classifier(bench: Bench) -> Finding:
    """NaN, no time, and a full queue; `/predict` says 503, chats are answered."""
    n = bench.pick(30, 150, 300)
    folder = Path(tempfile.mkdtemp(prefix="pointsman-harness-"))
    artifact = build_keyword_artifact(folder / "router", weights={"broken": float("nan"), "plan": 3.0}).path
    inference = {"artifact": str(artifact), "cache_size": 0}
    told = answered = said = unread = total = 0
    causes: dict[str, dict[str, Any]] = {
        "nan": {"inference": inference},
        "no time": {"inference": inference, "limits": {"queue_timeout_ms": 0.001}},
        "full queue": {"inference": {"cache_size": 0, "max_batch": 1}, "limits": {"queue": 1}},
    }
    for name, tables in causes.items():
        tables["routing"] = {"default_target": "cloud"}
        async with fronting(bench, upstream={"breaker_failures": NEVER_OPEN}, **tables) as front:
            filler = "word " * 120 if name == "full queue" else "broken"
            chats, plain = await asyncio.gather(
                at_once(lambda i, f=filler: front.ask(wire.chat(f"{f} {i}")), range(n), n),  # type: ignore[misc]
                at_once(lambda i, f=filler: front.ask(wire.predict(f"{f} {i}")), range(n), n),  # type: ignore[misc]
            )
        answered += sum(a.status == 200 for a in chats)
        total += n
        defaulted = [a for a in chats if "x-pointsman-p-cloud" not in a.headers]
        told += len(defaulted)
        said += sum(
            a.headers.get("x-pointsman-reason", "").startswith("classifier_")
            and a.headers.get("x-pointsman-upstream") == "cloud"
            for a in defaulted
        )
        unread += sum(a.status not in (200, 503) for a in plain)
        if name == "nan":
            unread += sum(a.status != 503 for a in plain)
    return Finding(
        (
            every("chats answered", answered, total),
            every("by the default target where the classifier failed, and said so", said, told),
            none("/predict answers that are neither a decision nor 503", unread, total),
        )
    )
