"""The worker that runs a router as production does: runtime packages only.

`python -m pointsman.bench.worker_router`, driven over standard input by `bench.runner`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.bench.worker import Feed, Subject, serve
from pointsman.runtime.batching import MAX_BATCH_TOKENS
from pointsman.runtime.router import Router
from pointsman.runtime.session import SessionConfig
from pointsman.settings import Settings


@dataclass(frozen=True, slots=True)
class RouterSubject(Subject):
    """A router, as a benchmark sees it."""

    router: Router

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> object:
        """One call, in the batches that the router would make of it: int64 (batch, length), twice."""
        rows = max(1, MAX_BATCH_TOKENS // input_ids.shape[1])
        parts = [slice(start, start + rows) for start in range(0, len(input_ids), rows)]
        session = self.router.session
        answers = self.router.scheduler.map(
            lambda part: session.run(input_ids[part], attention_mask[part]), parts
        )
        return np.concatenate(answers) if len(answers) > 1 else answers[0]

    def many(self, feeds: Sequence[Feed]) -> object:
        """Batches side by side, as `route_many` runs them."""
        return self.router.scheduler.map(lambda feed: self.router.session.run(*feed), feeds)

    def bulk(self, texts: list[str]) -> object:
        """Texts to decisions."""
        return self.router.route_many(texts)


def open_router(settings: Mapping[str, Any]) -> Subject:
    """Open `artifact` with `variant` and `threads`; the environment's settings do not count."""
    session = SessionConfig(threads=settings["threads"])
    router = Router.open(
        settings["artifact"], variant=settings["variant"], session=session, settings=Settings()
    )
    return RouterSubject(router)


if __name__ == "__main__":
    serve(open_router)
