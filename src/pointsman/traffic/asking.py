"""Many calls at once, each paid once: within a budget, resumable, stopped by what cannot get better."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import openai

from pointsman.errors import UpstreamError
from pointsman.progress import Progress
from pointsman.traffic.endpoint import Call, Endpoint, tokens_of
from pointsman.traffic.estimate import Expectation
from pointsman.traffic.work import Answer, Work

_RETRIES = 4
_HOPELESS = (
    openai.AuthenticationError,
    openai.PermissionDeniedError,
    openai.NotFoundError,
)
_FAILURES_IN_A_ROW = 10
_REPORT_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How calls are made.

    Attributes:
        concurrency: calls in flight at most, at least 1.
        budget: money for these calls and the earlier ones of their roles; None has no limit.
        currency: the unit of all prices, for messages.
    """

    concurrency: int = 4
    budget: float | None = None
    currency: str = "USD"


@dataclass(slots=True)
class Asked:
    """What became of the calls: how many were answered now, and how many failed; `reasons` by message."""

    answered: int = 0
    failed: int = 0
    out_of_budget: bool = False
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every call has its answer."""
        return not self.failed and not self.out_of_budget


def ask_all(
    calls: Sequence[Call], work: Work, limits: Limits, expect: Expectation, progress: Progress
) -> Asked:
    """Ask what is not kept yet, and keep each answer at once.

    Raises:
        UpstreamError: an endpoint that refuses the key, lacks the model, or fails ten times in a row.
    """
    with work.transaction():
        left = [call for call in calls if not _take_kept(call, work)]
    return asyncio.run(_Asking(work, limits, expect, progress).run(left)) if left else Asked()


def _take_kept(call: Call, work: Work) -> bool:
    if work.paid(call.key) is None:
        return False
    work.give(call.query, call.role, call.sample, call.key)
    return True


class _Asking:
    """One run of calls."""

    def __init__(self, work: Work, limits: Limits, expect: Expectation, progress: Progress) -> None:
        self.work, self.limits, self.expect, self.progress = work, limits, expect, progress
        self.asked = Asked()
        self.failures_in_a_row: Counter[str] = Counter()
        self.spent = self.reserved = 0.0
        self.clients: dict[int, openai.AsyncOpenAI] = {}

    async def run(self, calls: Sequence[Call]) -> Asked:
        self.spent = self.work.spent({call.role for call in calls})
        began = reported = time.monotonic()
        waiting = iter(calls)
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                while len(running) < self.limits.concurrency and (call := self._next(waiting)) is not None:
                    running.add(asyncio.create_task(self._ask(call)))
                if not running:
                    return self.asked
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                if time.monotonic() - reported > _REPORT_EVERY_S:
                    reported = time.monotonic()
                    self.work.sync()
                    self._report(len(calls), reported - began)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for client in self.clients.values():
                await client.close()

    def _next(self, waiting: Any) -> Call | None:
        """The next call that the budget pays for, with those in flight."""
        if self.asked.out_of_budget or (call := next(waiting, None)) is None:
            return None
        expected = self.expect.cost(call) or 0.0
        budget = self.limits.budget
        if budget is not None and self.spent + self.reserved + expected > budget:
            self.asked.out_of_budget = True
            return None
        self.reserved += expected
        return call  # type: ignore[no-any-return]

    async def _ask(self, call: Call) -> None:
        expected = self.expect.cost(call) or 0.0
        try:
            answer = await self._answer(call)
        except _HOPELESS as error:
            raise UpstreamError(
                f"{call.endpoint.url}, model {call.endpoint.model!r}: {_said(error)}"
            ) from None
        except openai.OpenAIError as error:
            self._failed(call, error)
            return
        finally:
            self.reserved -= expected
        self.failures_in_a_row[call.endpoint.url] = 0
        with self.work.transaction():
            self.work.keep(call.key, call.role, answer)
            self.work.give(call.query, call.role, call.sample, call.key)
        self.spent += answer.cost or 0.0
        self.asked.answered += 1

    def _failed(self, call: Call, error: openai.OpenAIError) -> None:
        reason = f"{call.endpoint.url}: {_said(error)}"
        self.asked.failed += 1
        self.asked.reasons[reason] = self.asked.reasons.get(reason, 0) + 1
        if isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
            return  # refused for what it says: the row's own matter
        self.failures_in_a_row[call.endpoint.url] += 1
        if self.failures_in_a_row[call.endpoint.url] >= _FAILURES_IN_A_ROW:
            raise UpstreamError(f"{reason} ({_FAILURES_IN_A_ROW} failures in a row)")

    async def _answer(self, call: Call) -> Answer:
        began = time.monotonic()
        found = await self._client(call.endpoint).chat.completions.create(
            model=call.endpoint.model,
            messages=cast(Any, list(call.messages)),
            **call.parameters,
        )
        seconds = time.monotonic() - began
        # Not every server keeps to the types of the client.
        choice = next(iter(getattr(found, "choices", None) or ()), None)
        message = getattr(choice, "message", None)
        if choice is None or message is None:
            raise openai.OpenAIError("expected a chat completion with a message, found none")
        text = message.content or message.refusal or ""
        finish = "refusal" if message.refusal else str(choice.finish_reason)
        usage = found.usage
        tokens_in = usage.prompt_tokens if usage else call.tokens_in
        tokens_out = usage.completion_tokens if usage else tokens_of(text)
        cost = call.endpoint.cost(tokens_in, tokens_out)
        return Answer(
            text, finish, tokens_in, tokens_out, seconds, cost, call.endpoint.model, call.endpoint.url
        )

    def _client(self, endpoint: Endpoint) -> openai.AsyncOpenAI:
        if id(endpoint) not in self.clients:
            common: dict[str, Any] = {
                "api_key": endpoint.key or "none",
                "timeout": openai.Timeout(endpoint.timeout_s, connect=endpoint.connect_s),
                "max_retries": _RETRIES,
            }
            if endpoint.azure_version is not None:
                self.clients[id(endpoint)] = openai.AsyncAzureOpenAI(
                    azure_endpoint=endpoint.url, api_version=endpoint.azure_version, **common
                )
            else:
                self.clients[id(endpoint)] = openai.AsyncOpenAI(base_url=endpoint.url, **common)
        return self.clients[id(endpoint)]

    def _report(self, total: int, seconds: float) -> None:
        done = self.asked.answered + self.asked.failed
        left = seconds / max(1, done) * (total - done) / 60
        money = f"{self.spent:.4g} {self.limits.currency} spent, " if self.expect.is_priced else ""
        self.progress(f"{done:,} of {total:,} calls, {money}{left:.0f} min left")


def _said(error: openai.OpenAIError) -> str:
    """An error in one line, without the request."""
    if isinstance(error, openai.APITimeoutError):
        return "no answer in time"
    if isinstance(error, openai.APIStatusError):
        return f"status {error.status_code}: {str(error.message).splitlines()[0][:200]}"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
