"""F: hostile texts. Every one gets a decision or a 400, quickly, and the next request is answered."""

import asyncio
import json
import random
import time
from collections.abc import Callable

import numpy as np
from tests.reliability.suite import check
from tests.support import wire
from tests.support.harness.bench import UNCACHED, Bench
from tests.support.harness.fronts import at_once, still_alive
from tests.support.harness.measure import Finding, Tally, at_most, every, none, noted, within
from tests.support.harness.open_load import Pool, quantile

from pointsman import Router
from pointsman.runtime.session import SessionConfig

EMPTY = [
    "",
    " ",
    "\t\n\r ",
    "\u200b\u200b",
    "\ufeff",
    "\u0000\u0001\u0002",
    "\u00a0\u2003",
    "\u200b \ufeff\n",
]
ODD = [
    "\u0000analyze",
    "\u202eevil\u202c",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467" * 50,
    "\U0001f600" * 20_000,
    "a" + "\u0301" * 20_000,
    "\ufdfa" * 5_000,
    "\u6f22\u5b57" * 10_000,
    "e\u0301 \u00e9 \u1e69 s\u0323\u0307",
    "[CLS] [SEP] [MASK] [PAD] [UNK]",
    "[SEP]" * 1000,
    "\uffff\ufffe",
    "\ud7ff\ue000",
    "<script>",
    "{{7*7}}",
    "%s%n%x",
    "../../etc/passwd",
    "\u2028\u2029",
    "A" * 60_000,
    "\n" * 60_000 + "analyze",
]


def random_text(draw: random.Random) -> str:
    """Letters from everywhere in Unicode, at most 200."""
    ranges = (
        (32, 126),
        (0, 31),
        (0x80, 0x2FF),
        (0x300, 0x36F),
        (0x2000, 0x206F),
        (0x4E00, 0x9FFF),
        (0xD800, 0xDFFF),
        (0xE000, 0xF8FF),
        (0x1F300, 0x1FAFF),
        (0x10000, 0x10FFFF),
    )
    return "".join(chr(draw.randint(*draw.choice(ranges))) for _ in range(draw.randint(1, 200)))


@check(
    "F1", "A text without anything to read is refused as `empty_input`", tests="tests/serve/test_limits.py"
)
async def nothing_to_read(bench: Bench) -> Finding:
    """Empty, spaces, zero-width and control characters, alone and in a batch."""
    async with await bench.gateway() as gateway:
        found = [await wire.ask(gateway.port, wire.predict(text)) for text in EMPTY]
        found += [await wire.ask(gateway.port, wire.predict(["analyze", text])) for text in EMPTY]
        alive = await still_alive(gateway)
    good = sum(a.status == 400 and a.code() == "empty_input" for a in found)
    return Finding((every("answered 400 empty_input", good, len(found)), alive))


@check(
    "F2",
    "Any text gets a decision or a 400, and special tokens in it are plain text",
    tests="tests/runtime/test_router.py",
)
async def any_text(bench: Bench) -> Finding:
    """A table of odd texts, then random ones from all of Unicode, lone surrogates too."""
    n = bench.pick(300, 5_000, 100_000)
    draw = bench.random("F2")
    tally = Tally("neither a decision nor 400")
    async with await bench.gateway({**UNCACHED, "limits": {"queue_timeout_ms": 10_000}}) as gateway:
        pool = Pool(gateway.port)
        per = 8
        for text in ODD:
            tally.case((await pool.ask(wire.predict(text))).status not in (200, 400))
        bodies = [[random_text(draw) for _ in range(per)] for _ in range(n // per)]

        async def one(index: int) -> wire.Answer:
            return await pool.ask(wire.predict(bodies[index]))

        for answer in await at_once(one, range(len(bodies)), 4):
            tally.case(answer.status not in (200, 400))
        alive = await still_alive(gateway)
        pool.close()
    router = Router.open(session=SessionConfig(threads=1))
    special = {router.encode([""])[0].ids[0], router.encode([""])[0].ids[-1]}
    inside = sum(bool(special & set(router.encode([f"x {text} y"])[0].ids[1:-1])) for text in ODD[8:10])
    return Finding(
        (
            *tally.measures(),
            none("special tokens smuggled in by a text", inside, 2),
            alive,
        ),
        (bench.seed,),
    )


SHAPES = {
    "words": "word ",
    "marks": "!",
    "one word": "a",
    "spaces": " ",
    "lines": "\n",
    "digits": "7",
    "CJK": "\u6f22",
    "emoji": "\U0001f600",
    "accents": "e\u0301",
    "zero width": "\u200b",
    "mixed": "a!1 ",
    "nul": "\0",
}


@check("F3", "A long text costs no more than its beginning", tests="tests/runtime/test_router.py")
async def long_texts(bench: Bench) -> Finding:
    """Twelve shapes at 10 KB, 100 KB and 1 MB: the router in this process, then the gateway's refusals.

    Long bodies are read in threads, whose own memory pools stay: 3 MiB of the bound.
    """
    rounds = bench.pick(2, 10, 30)
    router = Router.open(session=SessionConfig(threads=1))
    same = 0
    times: dict[int, list[float]] = {10_000: [], 100_000: [], 1_000_000: []}
    for shape in SHAPES.values():
        texts = {size: "plan " + shape * (size // len(shape)) for size in times}
        ids = {size: router.encode([text])[0].ids for size, text in texts.items()}
        same += len(set(map(tuple, ids.values()))) == 1
        for size, text in texts.items():
            for _ in range(rounds):
                begun = time.perf_counter()
                router.encode([text])
                times[size].append(1000 * (time.perf_counter() - begun))
    refused = 0
    async with await bench.gateway() as gateway:
        await gateway.is_alive()
        before = gateway.rss_mb
        for shape in SHAPES.values():
            body = json.dumps({"query": shape * (1_000_000 // len(shape))}).encode()
            refused += (await wire.ask(gateway.port, wire.request("/predict", body))).status == 413
            fits = json.dumps(
                {"query": "plan " + shape * (30_000 // len(shape))}, ensure_ascii=False
            ).encode()
            await wire.ask(gateway.port, wire.request("/predict", fits))
        grown = gateway.rss_mb - before
        alive = await still_alive(gateway)
    slowest = quantile([value for found in times.values() for value in found], 0.99)
    ratio = quantile(times[1_000_000], 0.5) / max(quantile(times[100_000], 0.5), 1e-6)
    return Finding(
        (
            every("shapes read the same at every size", same, len(SHAPES)),
            every("a megabyte answered 413", refused, len(SHAPES)),
            at_most("memory of the gateway", grown, 8.0, "MiB"),
            within("tokenizing, p99", slowest, 20.0, n=rounds * 3 * len(SHAPES)),
            within("1 MB over 100 KB", ratio, 1.5, ""),
            alive,
        )
    )


@check("F4", "An answer does not depend on its batch", tests="tests/runtime/test_router.py")
async def batches(bench: Bench) -> Finding:
    """Random batches in random order against every text alone, by the router that the gateway runs."""
    n = bench.pick(40, 400, 2000)
    draw = bench.random("F4")
    router = Router.open(session=SessionConfig(threads=1))
    texts = [bench.text(index) for index in range(256)]
    alone = {text: router.route(text) for text in texts}
    flips = compared = 0
    most = 0.0
    for _ in range(n):
        batch = draw.choices(texts, k=draw.randint(2, 32))
        found = await asyncio.to_thread(router.route_many, batch)
        for text, decision in zip(batch, found, strict=True):
            compared += 1
            flips += decision.label != alone[text].label
            most = max(most, float(np.abs(decision.p_cloud - alone[text].p_cloud)))
    return Finding(
        (
            none("labels that changed", flips, compared),
            at_most("largest difference of p_cloud", most, 1e-4, "", compared),
            noted("batches", n),
        ),
        (bench.seed,),
    )


_TWINS = str.maketrans("aceiopxy", "\u0430\u0441\u0435\u0456\u043e\u0440\u0445\u0443")
"""Cyrillic letters that look like Latin ones."""


def spellings(draw: random.Random) -> dict[str, Callable[[str], str]]:
    """Ways to write the same for a reader, and something else for a machine."""

    def between(text: str, odd: str) -> str:
        return "".join(letter + odd * (draw.random() < 0.3) for letter in text)

    return {
        "zero-width spaces": lambda text: between(text, "\u200b"),
        "soft hyphens": lambda text: between(text, "\u00ad"),
        "accents that combine": lambda text: between(text, "\u0301"),
        "letters that look alike": lambda text: text.translate(_TWINS),
        "spaces before it": lambda text: " \n" * 400 + text,
        "invisible letters before it": lambda text: "\u200b" * 4_000 + text,
    }


@check(
    "F7", "How often a hostile spelling changes a decision is measured", tests="tests/runtime/test_router.py"
)
async def hostile_spellings(bench: Bench) -> Finding:
    """The shipped queries, as they are and spelled so that only a machine sees the difference."""
    n = bench.pick(100, 1_000, 1_000)
    router = Router.open(session=SessionConfig(threads=1))
    texts = [bench.text(index) for index in range(n)]
    plain = [decision.target for decision in router.route_many(texts)]
    measures = []
    for name, spell in spellings(bench.random("F7")).items():
        found = await asyncio.to_thread(router.route_many, [spell(text) for text in texts])
        flips = sum(decision.target != target for decision, target in zip(found, plain, strict=True))
        measures.append(noted(f"decisions changed by {name}", 100 * flips / n, "%", n))
    return Finding(tuple(measures), (bench.seed,))
