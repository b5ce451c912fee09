"""K: no single request, client, log reader or web page stops or steers the gateway."""

import asyncio
import json
import math
import os
import resource
import secrets
import signal
import socket
import tempfile
from pathlib import Path

from tests.reliability.checks.load import strange
from tests.reliability.suite import check
from tests.support import wire
from tests.support.fault_upstream import Call, Script, answers, resets
from tests.support.harness.bench import Bench
from tests.support.harness.fronts import NEVER_OPEN, at_once, fronting
from tests.support.harness.measure import Finding, at_most, every, none, noted, within
from tests.support.harness.open_load import open_loop
from tests.support.openai_messages import completion
from tests.support.process import Gateway
from tests.support.worst_bodies import WORST

from pointsman.serve.routes import ADMIN, PUBLIC

RULES = [
    {"name": "tagged", "send": "local", "tag": "x"},
    {"name": "words", "send": "local-only", "keywords": ["payroll", "annual bonus", "工资", "@corp.com"]},
    {"name": "pattern", "send": "local-only", "pattern": "(a+)+$|[0-9]{3}-[0-9]{2}-[0-9]{4}"},
]
MIB = 2**20


@check(
    "K1",
    "Health probes do not wait while the worst large bodies are read",
    tests="tests/serve/test_long_texts.py",
)
async def worst(bench: Bench) -> Finding:
    """Bodies that are hard to parse or read, two at a time, under rules of words and patterns, and probes."""
    size = bench.pick(MIB, 16 * MIB - 1000, 16 * MIB - 1000)
    names = [*WORST]
    took: dict[str, float] = {}
    waits: list[float] = []
    is_over = False
    async with fronting(bench, routing={"rules": RULES}, upstream={"breaker_failures": NEVER_OPEN}) as front:

        async def probe() -> None:
            while not is_over:
                answer = await front.ask(wire.get("/livez"))
                wait_ms = 1000 * (answer.ended_at - answer.sent_at)
                waits.append(wait_ms if answer.status == 200 else math.inf)
                await asyncio.sleep(0.005)

        async def one(index: int) -> int:
            body = WORST[names[index]](size)
            answer = await front.ask(wire.request("/v1/chat/completions", body), 300.0)
            took[names[index]] = answer.ended_at - answer.sent_at
            return answer.status

        probing = asyncio.ensure_future(probe())
        statuses = await at_once(one, range(len(names)), 2)
        is_over = True
        await probing
        peak = front.gateway.status("VmHWM") / 1024
    waits.sort()
    slowest = max(took, key=lambda name: took[name])
    n = len(waits)
    return Finding(
        (
            none(
                "neither answered nor refused by 400 or 413",
                sum(s not in (200, 400, 413) for s in statuses),
                len(names),
            ),
            none("failed probes", sum(wait == math.inf for wait in waits), n),
            within("/livez, p99", waits[int(0.99 * n)], 50.0, n=n),
            within("/livez, slowest", waits[-1], 250.0, n=n),
            noted("size of a body", size / MIB, "MiB"),
            noted("the slowest body", took[slowest], "s"),
            noted("most memory", peak, "MiB"),
        ),
        remark=f"The slowest body: {slowest}.",
    )


@check(
    "K2",
    "A log reader that stops reading blocks nothing, and lost lines are counted",
    tests="tests/serve/test_logs.py",
)
async def log_reader(bench: Bench) -> Finding:
    """Standard error is a pipe that is full and never read, at DEBUG; then SIGTERM."""
    n = bench.pick(400, 20_000, 100_000)
    pipe = Path(tempfile.mkdtemp(prefix="pointsman-harness-")) / "log"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        async with fronting(
            bench, how={"log": pipe}, server={"log_level": "debug", "drain_delay_s": 0.1}
        ) as front:
            requests = (wire.predict("plan"), wire.get("/livez"), wire.chat("q", model="cloud"))
            statuses = await at_once(lambda i: front.ask(requests[i % 3]), range(n), 8)
            metrics = await front.gateway.metrics()
            front.gateway.signal(signal.SIGTERM)
            code = await front.gateway.ended(20)
    finally:
        os.close(reading)
    return Finding(
        (
            every("answered", sum(answer.status == 200 for answer in statuses), n),
            every("exit code 0 after SIGTERM", int(code == 0), 1),
            noted("lines lost and counted", metrics["pointsman_log_lines_dropped_total"], "", n),
        )
    )


@check(
    "K3",
    "The errors that one client's requests cause at an upstream affect no other client",
    tests="tests/serve/test_fallback.py",
)
async def another_client(bench: Bench) -> Finding:
    """Keys whose chats are refused, or make the upstream hang up; after each, another key's good chat."""
    rounds = bench.pick(20, 200, 2000)
    error = json.dumps({"error": {"message": "no", "type": "x"}}).encode()
    said: dict[int, Script] = {
        400: answers(error, 400),
        500: answers(error, 500),
        429: answers(error, 429, "retry-after: 300\r\n"),
        529: answers(error, 529, "retry-after: 300\r\n"),
        502: resets,
    }
    keys = [secrets.token_hex(32) for _ in range(len(said) + 1)]
    good, *bad = ({"authorization": f"Bearer {key}"} for key in keys)
    fine = answers(completion("fine"))
    as_said = served = 0

    async def by_content(call: Call) -> None:
        content = json.loads(call.body)["messages"][0]["content"]
        await said.get(int(content), fine)(call)

    async with fronting(bench, cloud=by_content, auth={"keys": keys}) as front:
        for _ in range(rounds):
            for status, headers in zip(said, bad, strict=True):
                answer = await front.ask(wire.chat(str(status), headers, model="cloud"))
                as_said += answer.status in (status, 429) and "error" in answer.json()
                served += (await front.ask(wire.chat("0", good, model="cloud"))).status == 200
    n = rounds * len(said)
    return Finding(
        (
            every("the other client's chats answered", served, n),
            every("told their own error, with its status or that of the pause asked for", as_said, n),
        )
    )


ELSEWHERE: tuple[dict[str, str], ...] = (
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:1"},
    {"origin": "file://"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"host": "evil.example"},
    {"host": "127.0.0.1.nip.io"},
    {"host": "localhost.evil.example"},
    {"host": "evil.example", "origin": "http://evil.example", "sec-fetch-site": "same-origin"},
)
"""What a browser says of a page elsewhere, and of a name that its owner points to this machine."""
KINDS = ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")


@check(
    "K4",
    "A web page of another site can use or change nothing, on any route",
    tests="tests/serve/test_browser.py",
)
async def pages(bench: Bench) -> Finding:
    """Every route of both addresses, no keys: foreign origins, names and fetches; bodies of other types."""
    let_in = n = typed = kinds = 0
    async with await bench.gateway() as gateway:
        version = (await wire.ask(gateway.port, wire.get("/info"))).json()["version"]
        for port, routes in ((gateway.port, PUBLIC), (gateway.admin_port, ADMIN)):
            for route in routes:
                if route.access == "open":
                    continue
                path = route.path.replace("{", "").replace("}", "")
                body = b'{"query": "plan", "artifact": "/nowhere"}' if route.method == "POST" else None
                for headers in ELSEWHERE:
                    request = wire.request(path, body, headers, route.method)
                    let_in += (await wire.ask(port, request)).status not in (400, 403)
                    n += 1
                for kind in KINDS if body else ():
                    request = wire.request(path, body, {"content-type": kind}, route.method)
                    typed += (await wire.ask(port, request)).status not in (403, 404, 415)
                    kinds += 1
        same = (await wire.ask(gateway.port, wire.get("/info"))).json()["version"] == version
    return Finding(
        (
            none("let in", let_in, n),
            none("bodies that are not announced as JSON and were read", typed, kinds),
            every("the artifact is still the same", int(same), 1),
        )
    )


@check(
    "K5",
    "Clients that never read, or never end a body, hold bounded memory and give it back",
    tests="tests/serve/test_memory.py",
)
async def held(bench: Bench) -> Finding:
    """Large answers that are never read, and large bodies without an end, each beside an idle gateway."""
    clients, size, most = bench.pick(
        (12, 4 * MIB, 16 * MIB), (60, 15 * MIB, 64 * MIB), (60, 15 * MIB, 64 * MIB)
    )
    limits = {"memory_bytes": most, "write_timeout_s": 1.0, "body_timeout_s": 60.0, "answer_bytes": 2 * size}
    big = json.dumps({"choices": [], "text": "x" * size}).encode()
    requests = {
        "answers": wire.chat("q", model="cloud"),
        "bodies": wire.request("/v1/chat/completions", b" " * size)[: -MIB // 2],
    }
    grown: dict[str, float] = {}
    alive = ended = 0
    for name, request in requests.items():
        async with fronting(bench, cloud=answers(big), limits=limits) as front:
            await front.gateway.is_alive()
            before = front.gateway.rss_mb
            sockets = [await _silent(front.gateway.port, request) for _ in range(clients)]
            await asyncio.sleep(bench.pick(2.0, 4.0, 4.0))
            grown[name] = front.gateway.rss_mb - before
            alive += await front.gateway.is_alive()
            for made in sockets:
                made.close()
            ended += await front.gateway.settles()
    return Finding(
        (
            # An answer is there as it came, as text, as a value and as it goes out, and counts once.
            at_most(
                "memory beside answers that are never read",
                grown["answers"],
                5 * most / MIB + 32,
                "MiB",
                clients,
            ),
            at_most(
                "memory beside bodies without an end", grown["bodies"], 1.5 * most / MIB + 32, "MiB", clients
            ),
            every("others answered meanwhile", alive, 2),
            every("nothing in flight at the end", ended, 2),
            noted("allowed for all bodies and answers together", most / MIB, "MiB"),
        )
    )


async def _silent(port: int, request: bytes) -> socket.socket:
    """A client that sends what is taken of a request, and reads nothing."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, ("127.0.0.1", port))
    try:
        async with asyncio.timeout(5.0):
            await loop.sock_sendall(made, request)
    except (OSError, TimeoutError):
        pass
    return made


@check(
    "K6",
    "When file descriptors run out, the gateway answers 503 and counts no failure of an upstream",
    tests="tests/serve/test_breaker.py",
)
async def no_descriptors(bench: Bench) -> Finding:
    """Kept clients chat while no descriptor is left, and again when there are some."""
    n = bench.pick(20, 200, 2000)
    closes = answers(completion("fine"), headers="connection: close\r\n")
    async with fronting(bench, cloud=closes, upstream={"breaker_failures": 3}) as front:
        client = await wire.connect(front.gateway.port)
        chat = wire.chat("q", model="cloud")
        await client.ask(chat)
        before = await front.gateway.metrics()
        most = resource.prlimit(front.gateway.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(front.gateway.pid, resource.RLIMIT_NOFILE, (3, most[1]))
        own = sum([_is_own(await client.ask(chat)) for _ in range(n)])
        resource.prlimit(front.gateway.pid, resource.RLIMIT_NOFILE, most)
        back = sum([(await client.ask(chat)).status == 200 for _ in range(n)])
        after = await front.gateway.metrics()
        client.close()
    counted = sum(
        value - before.get(name, 0)
        for name, value in after.items()
        if name.startswith("pointsman_upstream_calls_total") and 'outcome="answered"' not in name
    )
    return Finding(
        (
            every("answered 503 `overloaded`, to be tried again", own, n),
            none("failures counted against the upstream", counted, n),
            every("answered at once when there are some again", back, n),
        )
    )


def _is_own(answer: wire.Answer) -> bool:
    is_told = answer.headers.get("x-should-retry") == "true" and "retry-after" in answer.headers
    return answer.status == 503 and answer.code() == "overloaded" and is_told


@check(
    "K7",
    "Keep-alive connections that were closed silently cost no request",
    tests="tests/serve/test_transport.py",
)
async def silently_dead(bench: Bench) -> Finding:
    """The kernel drops what comes for the upstream's connections, as where a firewall forgot them."""
    rounds, width = bench.pick(1, 5, 20), 8
    good, took = 0, []
    async with fronting(bench) as front:
        await front.chats(width, width)
        for _ in range(rounds):
            front.cloud.vanish()
            found = await front.chats(width, width)
            good += sum(answer.status == 200 for answer in found)
            took += [answer.ended_at - answer.sent_at for answer in found]
    n = rounds * width
    return Finding(
        (
            every("answered on a fresh connection", good, n),
            within("the slowest", max(took), 6.0, "s", n),
        )
    )


@check(
    "K8",
    "Many SIGHUPs at once cause one reload",
    tests="tests/serve/test_operations.py::test_a_storm_of_signals_is_one_reload",
)
async def storm(bench: Bench) -> Finding:
    """Signals as fast as they can be sent, with requests beside them."""
    n = bench.pick(500, 5_000, 20_000)
    async with await bench.gateway() as gateway:

        async def loads() -> int:
            return int((await wire.ask(gateway.port, wire.get("/info"))).json()["version"].rsplit("-")[-1])

        for _ in range(n):
            gateway.signal(signal.SIGHUP)
        load = await open_loop(gateway.port, bench.predict, 50, 3.0, seed=bench.seed)
        reloads = await loads() - 1
    return Finding(
        (
            at_most("reloads", reloads, 2, "", n),
            every("at least one", int(reloads >= 1), 1),
            none("incomplete or unexpected answers meanwhile", strange(load), load.sent),
            noted("refused meanwhile", load.turned_away, "", load.sent),
        ),
        (bench.seed,),
    )


@check(
    "K9", "The cache does not reveal to one key what another key asked", tests="tests/serve/test_access.py"
)
async def cache_by_client(bench: Bench) -> Finding:
    """What one key has just asked, asked by another: hits are counted."""
    n = bench.pick(100, 1_000, 10_000)
    keys = [secrets.token_hex(32) for _ in range(2)]
    first, second = ({"authorization": f"Bearer {key}"} for key in keys)
    async with await bench.gateway({"auth": {"keys": keys}}) as gateway:
        hits = []
        for headers in (first, second, second):
            before = await _hits(gateway)
            await at_once(
                lambda i, h=headers: wire.ask(gateway.port, wire.predict(bench.text(i), h)),  # type: ignore[misc]
                range(n),
                8,
            )
            hits.append(await _hits(gateway) - before)
    return Finding(
        (
            none("hits on what another key asked", hits[1], n),
            every("hits on what the same key asked", hits[2], n),
        ),
        (bench.seed,),
    )


async def _hits(gateway: Gateway) -> int:
    return int((await gateway.metrics())["pointsman_cache_hits"])
