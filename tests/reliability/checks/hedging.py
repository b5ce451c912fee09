"""B, with hedging on: what a silent upstream costs then, and what hedging must never do."""

from tests.reliability.suite import check
from tests.support import wire
from tests.support.fault_upstream import Call, events, hangs, streams
from tests.support.harness.bench import Bench
from tests.support.harness.fronts import BOTH_WAYS, NEVER_OPEN, Front, at_once, fronting
from tests.support.harness.measure import Finding, at_most, every, none, noted, within

AFTER_S = 0.2
ROUTING = {"fallback": BOTH_WAYS, "hedge_after_s": AFTER_S, "stream_decision": "off"}
SAID = {name: events(5, f"{name} ") for name in ("local", "cloud")}


@check(
    "B17",
    "With hedging a silent upstream costs little more than the time after which it is hedged",
    reference="Dean and Barroso, The tail at scale: a twentieth more requests",
    tests="tests/serve/test_hedging.py",
)
async def hedging(bench: Bench) -> Finding:
    """One chat in twelve finds its upstream silent; then all do; then they are local-only."""
    n = bench.pick(60, 240, 960)
    upstream = {"first_byte_timeout_s": 1.0, "breaker_failures": NEVER_OPEN}
    async with fronting(bench, local=streams(SAID["local"]), upstream=upstream, routing=ROUTING) as front:
        front.cloud.script = now_and_then
        some = await chats(front, n)
        slow = [answer for index, answer in enumerate(some) if index % 12 == 11]
        without = len(front.local.seen) - hedges(some)
        front.cloud.script = hangs
        every_one = await chats(front, n)
        front.local.script = hangs
        before = len(front.cloud.seen)
        private = await chats(front, n // 4, model="auto", policy="local-only")
        leaked = len(front.cloud.seen) - before
    answers = [*some, *every_one]
    once = sum(a.is_whole and a.body in map(b"".join, SAID.values()) for a in answers)
    return Finding(
        (
            every("said once, and whole", once, len(answers)),
            within("slowest, where one in twelve is silent", slowest_s(slow), AFTER_S + 0.1, "s", len(slow)),
            none("calls of the other without a hedge", without, n),
            at_most(
                "hedges, a tenth and three of all", hedges(answers), 0.1 * len(answers) + 3, "", len(answers)
            ),
            none("calls of the cloud with local-only text", leaked, len(private)),
            noted("slowest, where all are silent", slowest_s(every_one), "s", n),
        )
    )


async def now_and_then(call: Call) -> None:
    """Silent where the request's name says so."""
    await (hangs if int(call.headers["x-request-id"]) % 12 == 11 else streams(SAID["cloud"]))(call)


async def chats(front: Front, n: int, model: str = "cloud", policy: str = "auto") -> list[wire.Answer]:
    """Streams, eight at a time, each with its number as its name."""

    def request(index: int) -> bytes:
        headers = {"x-request-id": str(index), "x-pointsman-policy": policy}
        return wire.chat(f"q{index}", headers, model=model, stream=True)

    return await at_once(lambda index: front.ask(request(index)), range(n), 8)


def hedges(answers: list[wire.Answer]) -> int:
    """How many say that both upstreams were asked."""
    return sum("x-pointsman-hedged" in answer.headers for answer in answers)


def slowest_s(answers: list[wire.Answer]) -> float:
    """The longest time from a request to the end of its answer."""
    return max(answer.ended_at - answer.sent_at for answer in answers)
