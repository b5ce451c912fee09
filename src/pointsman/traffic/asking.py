"""Many calls at once, each paid once: within a budget, resumable, stopped by what cannot get better."""

import asyncio
import contextlib
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import openai

from pointsman.errors import UpstreamError
from pointsman.progress import Progress
from pointsman.traffic.call_errors import TOO_LATE, is_hopeless, may_be_paid, note_answer, pause_s, said
from pointsman.traffic.completion import read_answer
from pointsman.traffic.endpoint import Call, Endpoint
from pointsman.traffic.estimate import Expectation, expectation
from pointsman.traffic.trial import Trial
from pointsman.traffic.work import Answer, Work

_WAITS_S = (0.5, 1.0, 2.0, 4.0)
"""Before each retry, where the endpoint does not say how long."""
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
        UpstreamError: an endpoint that refuses the key, lacks the model, fails ten times in a row, or whose
            first answers all say nothing.
        KeyboardInterrupt: after the calls in flight, or at once if it came twice.
    """
    asking = _Asking(work, limits, expect, progress)
    with work.transaction():
        left: dict[str, list[Call]] = {}
        for call in calls:
            if (kept := work.paid(call.key)) is not None:
                work.give(call.query, call.role, call.sample, call.key)
                asking.trial.knows(call, kept)
            else:
                left.setdefault(call.key, []).append(call)
    try:
        return asyncio.run(asking.run(left)) if left else Asked()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


class _Asking:
    """One run of calls."""

    def __init__(self, work: Work, limits: Limits, expect: Expectation, progress: Progress) -> None:
        self.work, self.limits, self.expect, self.progress = work, limits, expect, progress
        self.asked = Asked()
        self.failures_in_a_row: Counter[str] = Counter()
        self.trial = Trial()
        self.spent = self.reserved = self.began = 0.0
        self.total = 0
        self.alike: Mapping[str, Sequence[Call]] = {}
        self.clients: dict[int, openai.AsyncOpenAI] = {}
        self.ended: BaseException | None = None
        self.is_ended = asyncio.Event()

    async def run(self, alike: Mapping[str, Sequence[Call]]) -> Asked:
        """Ask one of the calls of each key.

        What ends it early lets the calls in flight, which are paid, be answered and kept.
        """
        calls, self.alike = [same[0] for same in alike.values()], alike
        self.spent = self.work.spent({call.role for call in calls})
        self.total, self.began = len(calls), time.monotonic()
        running: set[asyncio.Task[None]] = set()
        try:
            with self._interrupted(running):
                await self._run(iter(calls), running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for client in self.clients.values():
                await client.close()
        self.work.set_aside(self.trial.useless())
        if self.ended is not None:
            self.progress(f"{self.asked.answered:,} answers came and are kept; the same command goes on")
            raise self.ended
        return self.asked

    async def _run(self, waiting: Iterator[Call], running: set[asyncio.Task[None]]) -> None:
        reported = self.began
        while True:
            while len(running) < self.limits.concurrency and (call := self._next(waiting)) is not None:
                running.add(asyncio.create_task(self._ask(call)))
            if not running:
                return
            first = asyncio.FIRST_COMPLETED
            done, _ = await asyncio.wait(running, timeout=_REPORT_EVERY_S, return_when=first)
            for task in done:
                task.result()
            running -= done
            if time.monotonic() - reported > _REPORT_EVERY_S:
                reported = time.monotonic()
                self.work.sync()
                self._report(reported - self.began)

    @contextlib.contextmanager
    def _interrupted(self, running: set[asyncio.Task[None]]) -> Iterator[None]:
        """Ctrl-C begins no more calls; a second one gives up those in flight."""
        loop, main = asyncio.get_running_loop(), asyncio.current_task()

        def interrupt() -> None:
            if main is not None and isinstance(self.ended, KeyboardInterrupt):
                main.cancel()
            self._end(KeyboardInterrupt())
            self.progress(f"waiting for {len(running)} calls in flight; press Ctrl-C again to give them up")

        # Not on Windows, and not outside of the main thread: there the first one ends it.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(signal.SIGINT)

    def _next(self, waiting: Iterator[Call]) -> Call | None:
        """The next call that the budget pays for, with those in flight."""
        if self.ended or self.asked.out_of_budget or (call := next(waiting, None)) is None:
            return None
        expected = self.expect.cost(call) or 0.0
        budget = self.limits.budget
        if budget is not None and self.spent + self.reserved + expected > budget:
            self.asked.out_of_budget = True
            return None
        self.reserved += expected
        return call

    async def _ask(self, call: Call) -> None:
        expected = self.expect.cost(call) or 0.0
        try:
            answer = await self._answer(call)
        except openai.OpenAIError as error:
            self._failed(call, error)
            return
        finally:
            self.reserved -= expected
        self.failures_in_a_row[call.endpoint.url] = 0
        with self.work.transaction():
            self.work.keep(call.key, call.role, answer)
            for same in self.alike[call.key]:
                self.work.give(same.query, same.role, same.sample, same.key)
        self.spent += answer.cost or 0.0
        self.asked.answered += 1
        if failure := self.trial.failed(call, answer):
            self._end(failure)

    def _failed(self, call: Call, error: openai.OpenAIError) -> None:
        """Count it, and end the run where the endpoint cannot get better."""
        url, reason = call.endpoint.url, f"{call.endpoint.url}: {said(error, call.endpoint.key)}"
        self.asked.failed += 1
        self.asked.reasons[reason] = self.asked.reasons.get(reason, 0) + 1
        if may_be_paid(error):
            # Other runs have to know.
            cost = expectation([call], self.work).cost(call)
            lost = Answer("", "lost", 0.0, 0.0, 0.0, cost, call.endpoint.model, url)
            self.work.keep(f"lost {uuid.uuid4().hex}", call.role, lost)
            self.spent += cost or 0.0
        if is_hopeless(error):
            self._end(UpstreamError(f"{reason} (model {call.endpoint.model!r})"))
        is_of_the_row = isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError)
        if is_of_the_row and url in self.failures_in_a_row and not self.failures_in_a_row[url]:
            return  # refused for what it says, by an endpoint that answers others
        self.failures_in_a_row[url] += 1
        if self.failures_in_a_row[url] >= _FAILURES_IN_A_ROW:
            self._end(UpstreamError(f"{reason} ({_FAILURES_IN_A_ROW} failures in a row)"))

    def _end(self, why: BaseException) -> None:
        """Begin no more calls; the first reason stands, unless a person interrupts."""
        if self.ended is None or isinstance(why, KeyboardInterrupt):
            self.ended = why
        self.is_ended.set()

    async def _answer(self, call: Call) -> Answer:
        """The answer, after as many retries as it takes and makes sense."""
        for wait_s in _WAITS_S:
            try:
                return await self._answer_once(call)
            except openai.OpenAIError as error:
                pause = pause_s(error, wait_s)
                if pause is None or self.ended:
                    raise
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.is_ended.wait(), pause)
        return await self._answer_once(call)

    async def _answer_once(self, call: Call) -> Answer:
        began = time.monotonic()
        try:
            # The client's own limit starts again with every byte.
            async with asyncio.timeout(call.endpoint.timeout_s + call.endpoint.connect_s):
                found = await self._client(call.endpoint).chat.completions.with_raw_response.create(
                    model=call.endpoint.model, messages=cast(Any, list(call.messages)), **call.parameters
                )
        except TimeoutError:
            raise openai.OpenAIError(TOO_LATE) from None
        return read_answer(call, found.content, time.monotonic() - began)

    def _client(self, endpoint: Endpoint) -> openai.AsyncOpenAI:
        if id(endpoint) not in self.clients:
            common: dict[str, Any] = {
                "api_key": endpoint.key or "none",
                "timeout": openai.Timeout(endpoint.timeout_s, connect=endpoint.connect_s),
                "max_retries": 0,
                "http_client": openai.DefaultAsyncHttpxClient(event_hooks={"response": [note_answer]}),
                "default_headers": dict(endpoint.headers),
            }
            if endpoint.azure_version is not None:
                self.clients[id(endpoint)] = openai.AsyncAzureOpenAI(
                    azure_endpoint=endpoint.url, api_version=endpoint.azure_version, **common
                )
            else:
                self.clients[id(endpoint)] = openai.AsyncOpenAI(base_url=endpoint.url, **common)
        return self.clients[id(endpoint)]

    def _report(self, seconds: float) -> None:
        done = self.asked.answered + self.asked.failed
        left = seconds / max(1, done) * (self.total - done) / 60
        money = f"{self.spent:.4g} {self.limits.currency} spent, " if self.expect.is_priced else ""
        self.progress(f"{done:,} of {self.total:,} calls, {money}{left:.0f} min left")
