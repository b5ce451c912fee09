"""The first calls of a run: an endpoint that gives nothing usable to them is not paid for all the others."""

from collections.abc import Sequence
from typing import TypeVar

from pointsman.errors import UpstreamError
from pointsman.traffic.call_errors import shortened
from pointsman.traffic.endpoint import Call
from pointsman.traffic.work import CLOUD_ROLE, LOCAL_ROLE, Answer

TRIAL = 16
"""Queries, or answers of one model."""
_Item = TypeVar("_Item")


def trial_first(items: Sequence[_Item]) -> list[_Item]:
    """The same items, at the front those of a trial, which are spread evenly over them.

    A log may begin with what every model refuses.
    """
    trial = range(0, len(items), max(1, len(items) // TRIAL))[:TRIAL]
    return [items[at] for at in trial] + [item for at, item in enumerate(items) if at not in trial]


class Trial:
    """Which models have said something, and what the others have answered."""

    def __init__(self) -> None:
        self._useful: set[str] = set()
        self._useless: dict[str, list[str]] = {}

    def knows(self, call: Call, kept: Answer) -> None:
        """An answer that was kept before: it may show that the model answers."""
        if not kept.is_refused:
            self._useful.add(call.role)

    def failed(self, call: Call, answer: Answer) -> UpstreamError | None:
        """Take an answer of this run: the error that ends it, where a model's first ones all say nothing."""
        self.knows(call, answer)
        if call.role in self._useful or call.role not in (LOCAL_ROLE, CLOUD_ROLE):
            return None
        useless = self._useless.setdefault(call.role, [])
        useless.append(call.key)
        if len(useless) < TRIAL:
            return None
        return UpstreamError(
            f"{call.endpoint.url}: the first {TRIAL} answers of model {call.endpoint.model!r} are all empty "
            f"or refused (the last one: finish_reason {answer.finish!r}, text "
            f"{shortened(answer.text, call.endpoint.key)}). Try the model by hand, and look at its name, at "
            "--system and at --max-tokens, which a model may use up before it answers."
        )

    def useless(self) -> list[str]:
        """Keys of the calls to models that failed."""
        failed = {role: keys for role, keys in self._useless.items() if role not in self._useful}
        return [key for keys in failed.values() if len(keys) >= TRIAL for key in keys]
