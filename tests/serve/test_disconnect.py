"""Clients that disconnect: the upstream call is closed, too."""

import json
import socket
import threading
from collections.abc import Callable

import pytest
from tests.support.fake_upstream import (
    STREAM_HEAD,
    FakeUpstream,
    Wire,
    chunk,
    delta,
)
from tests.support.running import Running, post_head

Start = Callable[..., Running]


class TestTheClientLeaves:
    def leave(self, gateway: Running, body: dict[str, object], after_bytes: int) -> None:
        data = json.dumps({"model": "cloud", "messages": [], **body}).encode()
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            head = post_head("/v1/chat/completions", len(data))
            client.sendall(head + data)
            got = b""
            while len(got) < after_bytes:
                got += client.recv(65536)
            self.reached.wait(60)

    @pytest.mark.parametrize(("streams", "after_bytes"), [(False, 0), (True, 0), (True, 1)])
    def test_the_upstream_is_let_go(
        self, both: Start, cloud: FakeUpstream, streams: bool, after_bytes: int
    ) -> None:
        self.reached = threading.Event()
        closed = threading.Event()

        def script(wire: Wire) -> None:
            if after_bytes:
                wire.send(STREAM_HEAD + chunk(delta("x")))
            self.reached.set()
            if wire.wait_for_close():
                closed.set()

        cloud.script = script
        gateway = both()
        self.leave(gateway, {"stream": streams}, after_bytes)
        assert closed.wait(60)
        gateway.settle()
        assert gateway.gateway.chats == 0
        assert not gateway.gateway.streams
