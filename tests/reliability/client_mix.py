"""Clients of every kind that go on asking while a gateway leaves, and count what becomes of each request."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from tests.support import wire
from tests.support.harness.bench import Bench
from tests.support.harness.fronts import has_error_event
from tests.support.harness.open_load import DROPPED, REFUSED
from tests.support.openai_messages import DONE
from tests.support.process import Gateway


class ClientMix:
    """Fifteen clients that go on asking until the address is closed.

    Attributes:
        outcomes: whole answers by kind, `dropped`, `refused`.
        cut: streams that ended neither whole nor with an error event.
    """

    def __init__(self, gateway: Gateway, bench: Bench) -> None:
        self._port = gateway.port
        self._bench = bench
        self.outcomes: Counter[str] = Counter()
        self.cut = 0
        self.is_over = False

    def clients(self) -> list[Coroutine[Any, Any, None]]:
        """Six on new connections, six on kept ones, three slow ones, three streams."""
        return [
            *(self._fresh(self._bench.predict, "fresh") for _ in range(6)),
            *(self._kept() for _ in range(6)),
            *(self._fresh(lambda i: wire.chat(f"q{i}", model="cloud"), "slow") for _ in range(3)),
            *(
                self._fresh(lambda i: wire.chat(f"q{i}", model="cloud", stream=True), "stream")
                for _ in range(3)
            ),
        ]

    def _count(self, answer: wire.Answer, kind: str) -> None:
        if not answer.is_whole:
            self.outcomes[DROPPED] += 1
            return
        self.outcomes[kind] += 1
        if kind == "stream" and answer.status == 200:
            self.cut += not (answer.body.endswith(DONE) or has_error_event(answer.body))

    async def _fresh(self, request_at: Callable[[int], bytes], kind: str) -> None:
        index = 0
        while not self.is_over:
            try:
                connection = await wire.connect(self._port, timeout_s=30)
            except (OSError, TimeoutError):
                self.outcomes[REFUSED] += 1
                await asyncio.sleep(0.05)
                continue
            self._count(await connection.ask(request_at(index)), kind)
            connection.close()
            index += 1

    async def _kept(self) -> None:
        connection, index = None, 0
        while not self.is_over:
            try:
                connection = connection or await wire.connect(self._port, timeout_s=30)
            except (OSError, TimeoutError):
                self.outcomes[REFUSED] += 1
                await asyncio.sleep(0.05)
                continue
            answer = await connection.ask(self._bench.predict(index))
            index += 1
            if answer.status == 0 and not connection.is_open and index > 1:
                # The server may close an idle connection at any time (RFC 9112, 9.5): a client asks again.
                self.outcomes["closed while idle"] += 1
                connection = None
                continue
            self._count(answer, "kept")
            if not answer.is_whole or answer.headers.get("connection") == "close":
                connection.close()
                connection = None
