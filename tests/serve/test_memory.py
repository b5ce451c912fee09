"""Clients that send much and never end, or never read: what they hold is bounded, and comes back."""

import asyncio
import json
import socket
import traceback
from collections.abc import Callable
from unittest.mock import AsyncMock

import pytest
from tests.support.fake_upstream import FakeUpstream, answer, stream
from tests.support.running import Running, post_head
from tests.support.waiting import until

from pointsman.serve.edge.http import Exchange
from pointsman.serve.edge.memory import MemoryBudget
from pointsman.serve.failures import GatewayError

Start = Callable[..., Running]
PATH = "/v1/chat/completions"


def test_the_newest_gives_way() -> None:
    budget = MemoryBudget(800_000)
    for _ in range(7):
        budget.take(100_000)
    with pytest.raises(GatewayError, match="too many") as caught:
        budget.take(100_000)
    assert (caught.value.code, budget.held_bytes) == ("overloaded", 700_000)
    with pytest.raises(GatewayError):
        budget.take(10, 100_000)
    for _ in range(10):
        budget.take(10_000)
    with pytest.raises(GatewayError):
        budget.take(1)
    budget.give_back(100_000)
    budget.take(60_000)


def test_a_refused_body_is_let_go_while_its_error_is_kept() -> None:
    receive = AsyncMock(return_value={"type": "http.request", "body": b"x" * 40_000, "more_body": True})
    exchange = Exchange({"headers": []}, receive, AsyncMock(), "id", memory=MemoryBudget(100_000))
    with pytest.raises(GatewayError, match="too many") as caught:
        asyncio.run(exchange.body(1_000_000, 5.0))
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert receive.await_count > 1
    assert not any(value for names in frames for value in names.values() if isinstance(value, bytearray))


def held(gateway: Running) -> int:
    return gateway.gateway.memory.held_bytes


def test_bodies_that_never_end_leave_room_or_are_refused(
    both: Start, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    size, most = 100_000, 1_000_000
    gateway = both(limits={"memory_bytes": most, "body_bytes": 200_000})
    clients = [socket.create_connection(("127.0.0.1", gateway.port), timeout=60) for _ in range(12)]
    try:
        for client in clients[:8]:
            client.sendall(post_head(PATH, 2 * size) + b" " * size)
        until(lambda: held(gateway) == 8 * size)
        for client in clients[8:]:
            client.sendall(post_head(PATH, 2 * size) + b" " * size)
        statuses = []
        for client in clients[10:]:
            got = client.recv(65536)
            statuses.append(got.split()[1])
            assert b"retry-after: " in got and b"x-should-retry: true" in got and b"connection: close" in got
        assert statuses == [b"503"] * 2
        assert held(gateway) <= most
        # What is small has room still.
        assert gateway.chat("plan").status_code == 200
    finally:
        for client in clients:
            client.close()
    until(lambda: held(gateway) == 0)
    assert gateway.chat("plan").status_code == 200


@pytest.mark.parametrize("streams", [False, True])
def test_clients_that_never_read_are_cut_off_and_their_answers_let_go(
    both: Start, cloud: FakeUpstream, streams: bool
) -> None:
    text = "x" * 8_000_000
    event = b"data: " + json.dumps({"choices": [{"delta": {"content": "x" * 50_000}}]}).encode() + b"\n\n"
    whole = json.dumps({"choices": [], "object": "chat.completion", "text": text}).encode()
    cloud.script = stream([event] * 160) if streams else answer(body=whole)
    gateway = both(limits={"write_timeout_s": 0.3}, upstream={"idle_timeout_s": 60.0})
    body = json.dumps({"model": "cloud", "messages": [], "stream": streams}).encode()
    clients = []
    for _ in range(3):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", gateway.port))
        client.sendall(post_head(PATH, len(body)) + body)
        clients.append(client)
    until(lambda: len(cloud.seen) == 3 and not gateway.gateway.in_flight)
    assert held(gateway) == 0
    (listener, _) = gateway.service.servers
    until(lambda: not listener._server.server_state.connections)
    for client in clients:
        client.close()
