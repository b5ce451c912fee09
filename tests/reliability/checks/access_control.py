"""G5 to G7: whom a request can reach: routes without a key, headers of others, upstreams that it names."""

import json
import secrets
import string

from tests.reliability.suite import check
from tests.support import wire
from tests.support.fault_upstream import FaultUpstream, answers
from tests.support.harness.bench import Bench
from tests.support.harness.fronts import at_once, fronting, still_alive
from tests.support.harness.measure import Finding, Tally, every, none

from pointsman.serve.routes import ADMIN, PUBLIC


@check(
    "G5",
    "Access is decided on the route that was matched, however its address is spelled",
    tests="tests/serve/test_access.py",
)
async def spellings(bench: Bench) -> Finding:
    """Every protected route in every spelling, with hosts and headers that lie, without a key."""
    keys = {"keys": [secrets.token_hex(32)], "admin_keys": [secrets.token_hex(32)]}
    hosts = ["x", "127.0.0.1/livez?", "x/livez#", "localhost:80@evil", ""]
    liars = {
        "x-original-url": "/livez",
        "x-rewrite-url": "/livez",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-prefix": "/livez",
        "forwarded": "for=127.0.0.1",
    }
    tally, n = Tally("let in without a key"), 0
    free = {(route.method, route.path) for route in PUBLIC if route.access == "open"}
    async with await bench.gateway({"auth": keys}) as gateway:
        for port, routes in ((gateway.port, PUBLIC), (gateway.admin_port, ADMIN)):
            for route in routes:
                if route.access == "open":
                    continue
                path = route.path.replace("{", "").replace("}", "")
                spelled = [
                    path,
                    f"/{path}",
                    f"{path}/",
                    f"/livez/..{path}",
                    f"/.{path}",
                    f"{path};a=b",
                    f"{path}%00",
                    f"{path}?key=x",
                    path.replace("/", "/%2e/", 1),
                    path.upper(),
                    f"/livez%2f..{path}",
                    f"{path}#/livez",
                    path.replace("/v", "/%76", 1),
                ]
                for spelling in spelled:
                    host = hosts[n % len(hosts)]
                    for method in (route.method, "HEAD", "OPTIONS"):
                        if method == "HEAD" and ("GET", route.path) in free:
                            continue  # The page at `/` is for everybody; only its POST is not.
                        body = b"{}" if method == "POST" else None
                        answer = await wire.ask(
                            port, wire.request(spelling, body, {"host": host, **liars}, method), 10
                        )
                        tally.case(200 <= answer.status < 400)
                        n += 1
    return Finding(tally.measures())


@check(
    "G6",
    "Only listed headers pass, in either direction, and the upstream's key is sent exactly once",
    tests="tests/serve/test_chat.py",
)
async def headers(bench: Bench) -> Finding:
    """Random headers of the client; random headers of the upstream."""
    n = bench.pick(100, 1_000, 5_000)
    draw = bench.random("G6")
    key = f"sk-up-{secrets.token_hex(16)}"
    pool = [
        "Authorization",
        "Cookie",
        "X-Api-Key",
        "X-Forwarded-For",
        "Forwarded",
        "Via",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "X-Evil",
        "Accept",
        "Traceparent",
        "OpenAI-Beta",
        "X-Request-Id",
    ]
    back = "set-cookie: a=b\r\nserver: secret-name\r\nx-ratelimit-limit: 9\r\nx-internal: y\r\nvia: z\r\n"
    leaked = keys_up = down = 0
    local = {"local": {"api_key": key}, "cloud": {"api_key": key}}
    async with fronting(bench, cloud=answers(headers=back), upstreams=local) as front:

        async def one(index: int) -> wire.Answer:
            chosen = {name: f"v{index}-{draw.random()}" for name in draw.sample(pool, draw.randint(0, 8))}
            chosen |= {
                "".join(draw.choices(string.ascii_lowercase, k=6)): "x" for _ in range(draw.randint(0, 3))
            }
            return await front.ask(wire.chat("q", chosen, model="cloud"))

        found = await at_once(one, range(n), 8)
        allowed = {
            "accept",
            "traceparent",
            "tracestate",
            "openai-beta",
            "x-request-id",
            "host",
            "content-type",
            "accept-encoding",
            "user-agent",
            "authorization",
            "content-length",
        }
        for call in front.cloud.seen:
            leaked += not set(call.header_names) <= allowed
            keys_up += (
                call.header_names.count("authorization") == 1
                and call.headers["authorization"] == f"Bearer {key}"
            )
        for answer in found:
            down += any(name in answer.headers for name in ("set-cookie", "x-internal", "via"))
            down += "secret-name" in str(answer.headers)
    return Finding(
        (
            none("requests with another header at the upstream", leaked, n),
            every("requests with our key, once", keys_up, n),
            none("answers with another header of the upstream", down, n),
        ),
        (bench.seed,),
    )


@check("G7", "No request can name an upstream", tests="tests/serve/test_chat.py")
async def elsewhere(bench: Bench) -> Finding:
    """Addresses in every field, header and query that a gateway of this kind has ever read."""
    async with FaultUpstream(answers()) as evil, fronting(bench) as front:
        address = f"http://127.0.0.1:{evil.port}/v1"
        names = [
            "api_base",
            "base_url",
            "api_key",
            "api_type",
            "azure_endpoint",
            "custom_llm_provider",
            "api_version",
            "url",
            "endpoint",
            "proxy",
            "host",
            "upstream",
        ]
        fields: list[dict[str, object]] = [{name: address} for name in names]
        fields += [
            {outer: {name: address}}
            for outer in ("extra_body", "metadata", "litellm_params", "extra_headers")
            for name in names
        ]
        fields += [{"model": address}, {"model": f"openai/{address}"}, {"model": f"local@{address}"}]
        headers = [
            {name: address}
            for name in (
                "x-upstream",
                "x-base-url",
                "x-forwarded-host",
                "host",
                "x-api-base",
                "helicone-target-url",
                "x-portkey-custom-host",
            )
        ]
        requests = [wire.chat("q", None, **field) for field in fields]
        requests += [wire.chat("q", header) for header in headers]
        queries = [f"/v1/chat/completions?{name}={address}" for name in names]
        body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "q"}]}).encode()
        requests += [wire.request(path, body) for path in queries]
        requests.append(wire.request(f"{address}/chat/completions", body))
        for request in requests:
            await front.ask(request)
        reached = none("connections to the named address", evil.connections, len(requests))
        alive = await still_alive(front.gateway)
    return Finding((reached, alive))
