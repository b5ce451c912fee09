"""A local model, a cloud model and a judge on real sockets, whose truth is known.

The cloud answers everything well. The local model answers well unless a word of `NEEDS_CLOUD` stands in the
question. The judge sees only the two answers, and says which one is good.
"""

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.support.fake_upstream import FakeUpstream, Wire
from tests.support.openai_messages import completion, whole
from tests.support.tiny_mobilebert import EASY, FILL, HARD

NEEDS_CLOUD = ["lights", "timer", "prove", "derive"]
"""The truth: two words that sound easy, and two that sound hard, so that nobody knows it beforehand."""
GOOD, POOR = "A sound answer", "I am not sure"


def is_hard(text: str) -> bool:
    return any(word in text.split() for word in NEEDS_CLOUD)


def log_of(count: int, seed: int = 0) -> list[str]:
    """Distinct queries, a third of which need the cloud."""
    rng = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count:
        first = rng.choice(EASY + HARD)
        made[" ".join([first, *rng.choices(FILL, k=rng.randint(3, 9))])] = None
    return list(made)


def local_says(text: str) -> str:
    return f"{POOR}. {len(text)}" if is_hard(text) else f"{GOOD} {len(text)}"


def cloud_says(text: str) -> str:
    return f"{GOOD}, at length: {len(text)}"


def judge_says(text: str) -> str:
    a = GOOD in text.partition("<answer_a>")[2].partition("</answer_a>")[0]
    b = GOOD in text.partition("<answer_b>")[2].partition("</answer_b>")[0]
    return f"Looked at both.\nVERDICT: {'TIE' if a == b else 'A' if a else 'B'}"


@dataclass
class FakeModel:
    """One model: `says` makes the answer of the last message's text.

    `seen` has every such text that arrived, `wires` every request.
    """

    says: Callable[[str], str]
    delay_s: float = 0.0
    seen: list[str] = field(default_factory=list)
    failing: Callable[[int], bytes | None] = lambda number: None
    most_open: int = 0
    wires: list[Wire] = field(default_factory=list)
    _open: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, wire: Wire) -> None:
        with self._lock:
            self.seen.append(wire.text)
            self.wires.append(wire)
            number = len(self.seen)
            self._open += 1
            self.most_open = max(self.most_open, self._open)
        try:
            time.sleep(self.delay_s)
            wire.send(self.failing(number) or whole(completion(self.says(wire.text))))
        finally:
            with self._lock:
                self._open -= 1


@dataclass
class Models:
    """The three, their addresses, and the gateway configuration that names the first two."""

    local: FakeModel
    cloud: FakeModel
    judge: FakeModel
    local_url: str
    cloud_url: str
    judge_url: str

    def config(self, extra: str = "", prices: str = "price_in = 1.0\nprice_out = 4.0") -> str:
        """TOML; 1,000 prompt and 500 completion tokens of the cloud cost 0.003."""
        return (
            f'[upstreams.local]\nurl = "{self.local_url}"\nmodel = "small"\n'
            f'[upstreams.cloud]\nurl = "{self.cloud_url}"\nmodel = "large"\n{prices}\n{extra}'
        )

    def judging(self) -> list[str]:
        """The flags that name the judge."""
        return ["--judge-url", self.judge_url, "--judge-model", "judge"]


@contextlib.contextmanager
def fake_models(delay_s: float = 0.0) -> Iterator[Models]:
    """Start the three; they end with the block."""
    local, cloud, judge = (FakeModel(says, delay_s) for says in (local_says, cloud_says, judge_says))
    servers = [FakeUpstream(model) for model in (local, cloud, judge)]
    local_url, cloud_url, judge_url = (server.url for server in servers)
    try:
        yield Models(local, cloud, judge, local_url, cloud_url, judge_url)
    finally:
        for server in servers:
            server.close()


def refused(status: int, message: str = "no", headers: str = "") -> bytes:
    """An answer that is an error, as OpenAI says it."""
    return whole(json.dumps({"error": {"message": message, "type": "error"}}).encode(), status, headers)
