"""H: secrets and texts: where they must never be found."""

import hashlib
import json
import math
import secrets
import statistics
import string
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.reliability.suite import check
from tests.support import wire
from tests.support.fault_upstream import Call, Script, answers, events, resets, streams
from tests.support.harness.bench import Bench
from tests.support.harness.fronts import BOTH_WAYS, NEVER_OPEN, Front, at_once, fronting
from tests.support.harness.measure import Finding, Measure, at_least, every, none, noted
from tests.support.keyword_forms import FORMS, KEYWORDS, positives
from tests.support.openai_messages import STREAM_HEAD, chunk, completion, delta

from pointsman.errors import SettingsError
from pointsman.serve.edge.keys import KeyRing, check_exposure, load_access
from pointsman.serve.routes import ADMIN, PUBLIC
from pointsman.serve.routing.request_text import RequestText
from pointsman.serve.routing.rules import compile_rules, first_match
from pointsman.serve.settings import Rule
from pointsman.serve.settings_loader import load_settings

PROMPT, SAID, CLIENT_KEY, UPSTREAM_KEY = (
    "canaryprompt7f3a",
    "canarysaid19bc",
    "ck-canaryclient-" + "4d2e9b61" * 4,
    "uk-canaryupstream-" + "83fa07c5" * 4,
)
CANARIES = {"prompt": PROMPT, "completion": SAID, "client key": CLIENT_KEY, "upstream key": UPSTREAM_KEY}


def outcomes() -> dict[str, Script]:
    """Ways for an upstream to answer, each with the canary in what it says."""

    async def breaks(call: Call) -> None:
        await call.send(STREAM_HEAD + chunk(delta(SAID)))
        call.reset()

    return {
        "answer": answers(completion(SAID)),
        "stream": streams([delta(SAID), *events(2)]),
        "broken": breaks,
        "reset": resets,
        "error": answers(json.dumps({"error": {"message": SAID}}).encode(), 500),
        "client error": answers(json.dumps({"error": {"message": SAID}}).encode(), 400),
        "busy": answers(SAID.encode(), 429),
        "nonsense": answers(SAID.encode()),
    }


def requests(index: int, key: str) -> bytes:
    """A request with the canary prompt in one of the places where a text can be."""
    auth = {"authorization": f"Bearer {key}"}
    text = f"{PROMPT} {index} analyze the plan"
    match index % 12:
        case 0:
            return wire.predict(text, auth)
        case 1:
            return wire.request(f"/predict?query={PROMPT}+{index}", b"", auth)
        case 2:
            return wire.request("/predict", f'{{"query": "{text}", "x": NaN}}'.encode(), auth)
        case 3:
            return wire.request("/classify", json.dumps({"input": [text, 3]}).encode(), auth)
        case 4:
            return wire.chat(text, auth, model="cloud")
        case 5:
            return wire.chat(text, auth, model="cloud", stream=True)
        case 6:
            return wire.chat(text, auth, model=PROMPT)
        case 7:
            return wire.chat(text, auth, api_base=f"http://{PROMPT}/")
        case 8:
            return wire.get(f"/{PROMPT}?a={PROMPT}", auth)
        case 9:
            return wire.predict(text, {"api-key": key + "x"})
        case 10:
            return wire.request("/predict", b'{"query": "' + text.encode() + b"\xff", auth)
        case _:
            return wire.predict(text * 5_000, auth)


@check(
    "H1",
    "Texts, answers and keys are in no log, metric, error, temporary file or process title",
    reference="uvicorn logs queries; FastAPI echoes; TEI prints its key",
    tests="tests/serve/test_operations.py",
)
async def canaries(bench: Bench) -> Finding:
    """Canaries in every place and against every outcome, at DEBUG; then everything is searched."""
    n = bench.pick(240, 1_500, 5_000)
    echoed: list[str] = []
    auth = {"keys": [CLIENT_KEY]}
    upstreams = {name: {"api_key_env": "HARNESS_UPSTREAM_KEY"} for name in ("local", "cloud")}
    tables: dict[str, Any] = {
        "server": {"log_level": "debug"},
        "auth": auth,
        "upstreams": upstreams,
        "routing": {"fallback": BOTH_WAYS},
    }
    how: dict[str, Any] = {
        "environment": {
            "HARNESS_UPSTREAM_KEY": UPSTREAM_KEY,
            "PYTHONASYNCIODEBUG": "1",
            "HTTPX_LOG_LEVEL": "debug",
        }
    }
    async with fronting(bench, upstream={"breaker_failures": NEVER_OPEN}, how=how, **tables) as front:
        scripts = list(outcomes().values())

        async def one(index: int) -> wire.Answer:
            return await front.ask(requests(index, CLIENT_KEY))

        for start in range(0, n, 60):
            front.cloud.script = front.local.script = scripts[start // 60 % len(scripts)]
            for answer in await at_once(one, range(start, min(n, start + 60)), 8):
                if answer.status >= 400 and b"canarysaid" not in answer.body:
                    echoed += [name for name, value in CANARIES.items() if value.encode() in answer.body]
                echoed += [
                    name
                    for name, value in CANARIES.items()
                    if "key" in name and value.encode() in answer.body
                ]
        written = everything(front)
        metrics = (await wire.ask(front.gateway.admin_port, wire.get("/metrics"))).body
        state = (await wire.ask(front.gateway.admin_port, wire.get("/admin/state"))).body
        auth_headers = {"authorization": f"Bearer {CLIENT_KEY}"}
        live = (await wire.ask(front.gateway.port, wire.get("/live.json", auth_headers))).body
        lines = written.count(b"\n")
    found = [name for name, value in CANARIES.items() if value.encode() in written + metrics + state + live]
    return Finding(
        (
            none("canaries in what was written", len(found), n),
            none("errors that repeat a text or a key", len(echoed), n),
            noted("log lines searched", lines),
        ),
        remark=f"Found: {sorted({*found, *echoed})}." if found or echoed else "",
    )


def everything(front: Front) -> bytes:
    """The log, what is in the process's folders beside its settings, and its title."""
    folder = front.gateway.folder
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "gateway.toml"]
    title = Path(f"/proc/{front.gateway.pid}/cmdline").read_bytes()
    return b"\n".join(path.read_bytes() for path in files) + title


@check("H2", "Every route says who may use it, and keeps to it", tests="tests/serve/test_access.py")
async def access(bench: Bench) -> Finding:
    """The whole table with no key, a wrong one, a user's and an admin's; wrong methods too."""
    user, boss = secrets.token_hex(32), secrets.token_hex(32)
    wrong = n = 0
    async with await bench.gateway({"auth": {"keys": [user], "admin_keys": [boss]}}) as gateway:
        for port, routes in ((gateway.port, PUBLIC), (gateway.admin_port, ADMIN)):
            for route in routes:
                path = route.path.replace("{", "").replace("}", "")
                for key, role in ((None, ""), ("x" * 40, ""), (user, "user"), (boss, "admin")):
                    headers = {"authorization": f"Bearer {key}"} if key else {}
                    body = b"{}" if route.method == "POST" else None
                    if path == "/admin/reload" and role == "admin":
                        body = b'{"artifact": "/nowhere"}'
                    status = (await wire.ask(port, wire.request(path, body, headers, route.method))).status
                    wrong += not _is_right(route.access, role, status)
                    n += 1
                status = (await wire.ask(port, wire.request(path, None, {}, "DELETE"))).status
                wrong += status not in (401, 405)
                n += 1
    return Finding((none("answers that the table does not allow", wrong, n),))


def _is_right(access: str, role: str, status: int) -> bool:
    if access == "open":
        return status not in (401, 403)
    if not role:
        return status == 401
    if access == "admin" and role == "user":
        return status == 403
    return status not in (401, 403)


@check("H3", "Beyond loopback it does not start without a strong key", tests="tests/serve/test_access.py")
async def weak_keys(bench: Bench) -> Finding:
    """Hosts and keys in a table; only a long random key opens the door."""
    strong = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c"
    weak = [
        "",
        "short",
        "changeme" * 5,
        "a" * 64,
        "secret-" + "ab" * 20,
        "password" * 6,
        "sk-1234" + "abcdefgh" * 4,
    ]
    hosts = ["0.0.0.0", "::", "192.0.2.7", "gateway.example"]
    refused = n = started = 0
    for host in hosts:
        for keys in ([], *([key] for key in weak)):
            tree = {"server": {"host": host}, "auth": {"keys": keys}}
            n += 1
            try:
                settings = load_settings(tree, None, {})
                check_exposure(settings.server, load_access(settings.auth))
            except SettingsError:
                refused += 1
        settings = load_settings({"server": {"host": host}, "auth": {"keys": [strong]}}, None, {})
        check_exposure(settings.server, load_access(settings.auth))
        started += 1
    return Finding(
        (every("weak set-ups refused", refused, n), every("strong ones taken", started, len(hosts)))
    )


@check(
    "H4",
    "The time that a refusal takes reveals nothing about a key",
    reference="TEI compares with ==",
    tests="tests/serve/test_access.py",
)
async def timing(bench: Bench) -> Finding:
    """Keys that share 0 or all but one of their letters with the right one; Welch's t of the two times."""
    n = bench.pick(4_000, 20_000, 200_000)
    right = secrets.token_hex(32)
    ring = KeyRing("user", (("k", hashlib.sha256(right.encode()).digest()),))
    near, far = right[:-1] + ("0" if right[-1] != "0" else "1"), "".join("x" for _ in right)
    times: dict[str, list[int]] = {near: [], far: []}
    draw = bench.random("H4")
    for _ in range(n):
        for key in draw.sample((near, far), 2):
            begun = time.perf_counter_ns()
            ring.holder_of(key)
            times[key].append(time.perf_counter_ns() - begun)
    kept = [sorted(values)[: int(0.9 * n)] for values in times.values()]
    a, b = kept
    spread = math.sqrt(statistics.variance(a) / len(a) + statistics.variance(b) / len(b))
    t = abs(statistics.fmean(a) - statistics.fmean(b)) / max(spread, 1e-9)
    # Two-sided p < 0.01 of a normal distribution, which so many tries come to.
    return Finding(
        (Measure("t of the two times, without its sign", t, "", "<=", 2.576, n, is_time=True),), (bench.seed,)
    )


@check("H5", "No client can make a new metric series", tests="tests/serve/test_limits.py")
async def cardinality(bench: Bench) -> Finding:
    """Random paths, models, methods, ids and tags."""
    n = bench.pick(300, 3_000, 10_000)
    draw = bench.random("H5")

    def word() -> str:
        return "".join(draw.choices(string.ascii_lowercase, k=12))

    makers: list[Callable[[], bytes]] = [
        lambda: wire.get(f"/{word()}"),
        lambda: wire.get(f"/v2/models/{word()}"),
        lambda: wire.chat("q", model=word()),
        lambda: wire.chat("q", {"x-request-id": word(), "x-pointsman-tags": word()}, model="cloud"),
        lambda: wire.request(f"/openai/deployments/{word()}/chat/completions", b"{}"),
        lambda: wire.request(f"/{word()}", None, {}, word().upper()),
    ]
    async with fronting(bench) as front:
        for make in makers * 3:
            await front.ask(make())
        await front.gateway.metrics()
        before = await front.gateway.metrics()
        await at_once(lambda i: front.ask(makers[i % len(makers)]()), range(n), 8)
        after = await front.gateway.metrics()
    new = sorted(set(after) - set(before))
    if new:
        print("     ", new[:4])
    return Finding((none("new series", len(new), n),), (bench.seed,))


@check("H6", "Nothing of a request is stored", tests="tests/serve/test_operations.py")
async def at_rest(bench: Bench) -> Finding:
    """The process's folders before and after; whatever is new is searched."""
    n = bench.pick(200, 1_000, 1_000)
    async with fronting(bench) as front:
        await at_once(lambda i: front.ask(wire.chat(f"{PROMPT} {i}", model="cloud")), range(n // 2), 8)
        await at_once(lambda i: front.ask(wire.predict(f"{PROMPT} {i}")), range(n // 2), 8)
        holding = sum(
            PROMPT.encode() in path.read_bytes() for path in front.gateway.folder.rglob("*") if path.is_file()
        )
        temporary = len(list((front.gateway.folder / "tmp").iterdir()))
    return Finding((none("files that hold a text", holding, n), none("temporary files", temporary, n)))


@check(
    "H7",
    "Health, errors and information show no path, host, key or upstream",
    tests="tests/serve/test_operations.py",
)
async def configuration(bench: Bench) -> Finding:
    """Canaries in the settings, then every open route and every kind of error."""
    upstream = {"api_key": UPSTREAM_KEY, "model": "canarymodel"}
    answers_seen = []
    async with fronting(
        bench, cloud=resets, local=resets, upstream=upstream, auth={"keys": [CLIENT_KEY]}
    ) as front:
        secret = [
            UPSTREAM_KEY,
            CLIENT_KEY,
            str(front.gateway.folder),
            str(front.cloud.port),
            str(front.local.port),
        ]
        auth = {"authorization": f"Bearer {CLIENT_KEY}"}
        for route in PUBLIC:
            path = route.path.replace("{", "").replace("}", "")
            for headers in ({}, auth):
                for body in (None, b"{}", b"{", b'{"model":"cloud","messages":[]}'):
                    method = route.method if body is None else "POST"
                    answers_seen.append(await front.ask(wire.request(path, body, headers, method)))
    # A port of four or five digits may turn up in a random id: only in an address it is a leak.
    hits = sum(
        any((f":{word}" if word.isdecimal() else word).encode() in answer.body for word in secret)
        for answer in answers_seen
    )
    return Finding((none("answers with a secret of the configuration", hits, len(answers_seen)),))


@check(
    "H8",
    "Text under a local-only rule, and what is redacted, is in no captured row, in whatever form",
    tests="tests/serve/test_capture.py",
)
async def captured(bench: Bench) -> Finding:
    """Private texts and redacted ones in every form; all rows are searched for what any of them says."""
    n = bench.pick(200, 2_000, 2_000)
    draw = bench.random("H8")
    rules = [{"name": "private", "send": "local-only", "keywords": list(KEYWORDS)}]
    private = [case.body for case in positives(bench.seed, n)]
    forms = [FORMS[draw.choice([*FORMS])](PROMPT, draw) for _ in range(n)]
    redacted = [
        {"messages": [{"role": "user", "content": f"please read {text} number {number}"}]}
        for number, text in enumerate(forms)
    ]
    with tempfile.TemporaryDirectory(prefix="pointsman-harness-") as folder:
        path = Path(folder) / "capture.jsonl"
        capture = {"path": str(path), "redact": [f"(?i){PROMPT}"]}
        async with fronting(bench, routing={"rules": rules}, capture=capture) as front:

            async def ask(body: dict[str, Any]) -> wire.Answer:
                sent = json.dumps({**body, "model": "cloud"}).encode()
                return await front.ask(wire.request("/v1/chat/completions", sent))

            kept = await at_once(lambda index: ask(private[index]), range(n), 12)
            others = await at_once(lambda index: ask(redacted[index]), range(n), 12)
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wanted = compile_rules(
        [
            Rule(name="private", send="local-only", keywords=KEYWORDS),
            Rule(name="redacted", send="local-only", pattern=f"(?i){PROMPT}"),
        ]
    )
    found = sum(first_match(wanted, RequestText(row, frozenset())) is not None for row in rows)
    plain = sum(f" {PROMPT} " in text for text in (f" {text} " for text in forms))
    return Finding(
        (
            none("rows with a private or redacted text", found, 2 * n),
            every("answered", sum(answer.status == 200 for answer in (*kept, *others)), 2 * n),
            at_least("rows with the rest of a redacted text", len(rows), plain, n=n),
        ),
        (bench.seed,),
    )
