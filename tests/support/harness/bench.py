"""What every check is given: its size, seeded texts, and a gateway when it asks for one."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal, TypeVar

from tests.support import wire
from tests.support.harness.open_load import closed_loop
from tests.support.process import Gateway

Size = Literal["small", "medium", "full"]
T = TypeVar("T")
SEED = 20260801

UNCACHED = {"inference": {"cache_size": 0}}
"""Every text is new to the gateway: what is measured is the model, not the cache."""


@dataclass(slots=True)
class Bench:
    """One run's surroundings.

    Attributes:
        size: `small` for every change, `medium` for twenty minutes, `full` for a soak.
        capacity: texts a second that one core serves, one text a request; measured once, when first needed.
    """

    size: Size
    seed: int = SEED
    capacity: float = 0.0
    texts: list[str] = field(default_factory=list)

    def pick(self, small: T, medium: T, full: T) -> T:
        """The value for this size."""
        return {"small": small, "medium": medium, "full": full}[self.size]

    def random(self, label: str) -> random.Random:
        """A generator of a check's own, the same in every run."""
        return random.Random(f"{self.seed}-{label}")

    async def gateway(self, settings: Mapping[str, Any] | None = None, **how: Any) -> Gateway:
        """A new gateway; the check closes it (`async with await bench.gateway()`)."""
        return await Gateway.start(settings, **how)

    def text(self, index: int) -> str:
        """A query of the shipped set; from the second round on with a number, so that no two are the same."""
        if not self.texts:
            lines = files("pointsman.datasets").joinpath("queries.jsonl").read_text(encoding="utf-8")
            self.texts = [json.loads(line)["query"] for line in lines.splitlines()]
            self.random("texts").shuffle(self.texts)
        turn, place = divmod(index, len(self.texts))
        return self.texts[place] if not turn else f"{self.texts[place]} {turn}"

    async def measured_capacity(self) -> float:
        """C: good answers a second with 32 clients that ask again at once, one text a request."""
        if not self.capacity:
            async with await self.gateway(UNCACHED) as gateway:
                await closed_loop(gateway.port, self.predict, 32, 1.0)
                load = await closed_loop(gateway.port, self.predict, 32, self.pick(2.0, 5.0, 10.0))
                self.capacity = load.rate
        return self.capacity

    def predict(self, index: int) -> bytes:
        """Request number `index` of a load of classifications."""
        return wire.predict(self.text(index))
