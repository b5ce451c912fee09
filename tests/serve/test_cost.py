"""What a chat costs: by the tokens that are reported, or else by an estimate that is told from them."""

import json
import socket
import threading
import time
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from tests.support import anthropic_messages
from tests.support.fake_upstream import (
    DONE,
    STREAM_HEAD,
    FakeUpstream,
    Script,
    Wire,
    answer,
    chunk,
    delta,
    stream,
)
from tests.support.running import Running, post_head

from pointsman.serve.chat.cost import Tokens, estimated_tokens, price, tokens_of
from pointsman.serve.upstream_settings import UpstreamSettings

Both = Callable[..., Running]
CLOUD = UpstreamSettings(url="http://x", price_in=10.0, price_cached=1.0, price_out=100.0)


@pytest.mark.parametrize(
    ("usage", "tokens", "money"),
    [
        ({"prompt_tokens": 1000, "completion_tokens": 10}, Tokens(1000, 0, 10), 0.011),
        (
            {"prompt_tokens": 1000, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 900}},
            Tokens(1000, 900, 0),
            0.0019,
        ),
        (
            {"input_tokens": 1000, "output_tokens": 0, "input_tokens_details": {"cached_tokens": 500}},
            Tokens(1000, 500, 0),
            0.0055,
        ),
        (
            {"input_tokens": 100, "cache_read_input_tokens": 800, "cache_creation_input_tokens": 100},
            Tokens(1000, 800, 0),
            0.0028,
        ),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 10**6}}, Tokens(5, 5, 0), 5e-6),
        ({"prompt_tokens": 1000.0, "completion_tokens": 10.0}, Tokens(1000, 0, 10), 0.011),
        ({"prompt_tokens": float("inf"), "completion_tokens": float("nan")}, Tokens(), 0.0),
        ({"prompt_tokens": True, "completion_tokens": -1, "prompt_tokens_details": "x"}, Tokens(), 0.0),
        (None, Tokens(), 0.0),
    ],
)
def test_cached_prompt_tokens_have_their_own_price(usage: Any, tokens: Tokens, money: float) -> None:
    assert tokens_of(usage) == tokens
    assert price(CLOUD, tokens) == pytest.approx(money)
    bare = CLOUD.model_copy(update={"price_cached": None})
    assert price(bare, tokens) == pytest.approx((10 * tokens.asked + 100 * tokens.answered) / 1e6)


ASKED, SAID = "ask it, " * 500, "say it, " * 250
"""About a thousand tokens, and five hundred."""
ABOUT = 1000 * 2.0 / 1e6 + 500 * 10.0 / 1e6
SILENT: list[Any] = [
    ...,
    None,
    {},
    [],
    "many",
    {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    {"prompt_tokens": None, "completion_tokens": None},
    {"prompt_tokens": "1000", "completion_tokens": -5},
    {"input_tokens": 1e30},
]
"""Members `usage` that say nothing; the first one is not there at all."""
ROUTES = {
    "/v1/chat/completions": (
        {"messages": [{"role": "user", "content": ASKED}]},
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}}]},
    ),
    "/v1/completions": ({"prompt": ASKED}, {"choices": [{"index": 0, "text": SAID}]}),
    "/v1/responses": (
        {"input": ASKED},
        {"id": "resp_1", "output": [{"type": "message", "content": [{"type": "output_text", "text": SAID}]}]},
    ),
    "/v1/messages": (
        {"messages": [{"role": "user", "content": ASKED}], "max_tokens": 500},
        {"type": "message", "content": [{"type": "text", "text": SAID}]},
    ),
}


def spent(gateway: Running, name: str = "spent", upstream: str = "cloud") -> float:
    gateway.settle()
    sample = gateway.gateway.metrics.registry.get_sample_value
    return sample(f"pointsman_{name}_money_total", {"upstream": upstream}) or 0.0


def counted(gateway: Running, name: str = "spent") -> float:
    gateway.settle()
    return gateway.gateway.history.since(0.0, name)


class TestAnAnswerWithoutUsage:
    def test_costs_about_what_its_text_does_and_that_is_told(self, both: Both, cloud: FakeUpstream) -> None:
        gateway = both(upstream={"api": "both"}, routing={"budget": {"amount": 1.0}})
        known = 0.0
        for (path, (asked, said)), usage in product(ROUTES.items(), SILENT):
            told = said if usage is ... else {**said, "usage": usage}
            cloud.script = answer(200, json.dumps(told).encode())
            assert gateway.http.post(path, json={"model": "cloud", **asked}).status_code == 200
            before, known = known, spent(gateway)
            assert known - before == pytest.approx(ABOUT, rel=0.02), (path, usage)
        assert spent(gateway, "estimated") == pytest.approx(known)
        assert gateway.gateway.budget is not None
        assert gateway.gateway.budget.spent == pytest.approx(known)
        sample = gateway.gateway.metrics.registry.get_sample_value
        assert not sample("pointsman_tokens_total", {"upstream": "cloud", "kind": "in"})

    def test_of_the_local_model_saves_about_what_the_cloud_would_have_cost(
        self, both: Both, local: FakeUpstream
    ) -> None:
        said = ROUTES["/v1/chat/completions"][1]
        local.script = answer(200, json.dumps(said).encode())
        gateway = both()
        gateway.chat(ASKED, model="local")
        assert counted(gateway, "saved") == pytest.approx(ABOUT, rel=0.02)
        assert counted(gateway) == 0.0

    @pytest.mark.parametrize(
        ("usage", "money", "is_whole"),
        [
            ({"prompt_tokens": 7, "completion_tokens": 9}, (7 * 2.0 + 9 * 10.0) / 1e6, True),
            ({"prompt_tokens": 7}, (7 * 2.0 + 500 * 10.0) / 1e6, False),
            ({"completion_tokens": 9}, (1000 * 2.0 + 9 * 10.0) / 1e6, False),
        ],
    )
    def test_or_with_a_part_of_it_is_estimated_for_the_rest(
        self, both: Both, cloud: FakeUpstream, usage: dict[str, int], money: float, is_whole: bool
    ) -> None:
        cloud.script = answer(200, json.dumps({**ROUTES["/v1/chat/completions"][1], "usage": usage}).encode())
        gateway = both()
        gateway.chat(ASKED, model="cloud")
        assert spent(gateway) == pytest.approx(money, rel=0.02)
        assert (spent(gateway, "estimated") == 0.0) is is_whole

    def test_of_vectors_costs_what_was_asked(self, both: Both, cloud: FakeUpstream) -> None:
        cloud.script = answer(200, json.dumps({"data": [{"embedding": [0.25] * 1000}]}).encode())
        gateway = both(routing={"embeddings": "cloud"})
        assert gateway.http.post("/v1/embeddings", json={"model": "e", "input": ASKED}).status_code == 200
        assert spent(gateway) == pytest.approx(1000 * 2.0 / 1e6, rel=0.02)


def test_what_no_model_is_asked_costs_nothing(both: Both, cloud: FakeUpstream) -> None:
    gateway = both(upstream={"api": "both"})
    body = {"model": "cloud", "messages": [{"role": "user", "content": "hi"}]}
    cloud.script = answer(200, b'{"input_tokens": 5000}')
    gateway.http.post("/v1/messages/count_tokens", json=body)
    cloud.script = answer(200, b'{"id": "conv_1", "object": "conversation"}')
    assert gateway.http.post("/v1/conversations", json={"items": [{"content": ASKED}]}).status_code == 200
    for refusal in (b'{"error": {"message": "no"}, "usage": {"prompt_tokens": 10}}', b'{"error": {}}'):
        cloud.script = answer(400, refusal)
        gateway.http.post("/v1/messages", json=body)
    cloud.script = answer(503)
    gateway.chat(model="cloud")
    assert spent(gateway) == counted(gateway) == 0.0


@pytest.mark.parametrize("total", [{"total_tokens": 16}, {}])
@pytest.mark.parametrize("reports", [True, False])
def test_a_stream_costs_what_it_reports_or_about_that(
    both: Both, cloud: FakeUpstream, reports: bool, total: dict[str, int]
) -> None:
    usage = json.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9, **total}})
    pieces = [delta("one"), delta("two"), delta("three")]
    cloud.script = stream([*pieces, *([f"data: {usage}\n\n".encode()] if reports else []), DONE])
    gateway = both()
    gateway.chat(ASKED, model="cloud", stream=True)
    assert spent(gateway) == pytest.approx(
        ((7 if reports else 1000) * 2.0 + (9 if reports else 4) * 10.0) / 1e6, rel=0.02
    )
    assert (spent(gateway, "estimated") > 0.0) is not reports


def cut_after(pieces: list[bytes]) -> Script:
    def script(wire: Wire) -> None:
        wire.send(STREAM_HEAD + b"".join(map(chunk, pieces)))
        wire.finish()

    return script


def test_a_stream_that_is_cut_costs_what_came_and_not_what_its_first_event_says(
    both: Both, cloud: FakeUpstream
) -> None:
    gateway = both(upstream={"api": "both"})
    cloud.script = cut_after(anthropic_messages.events(*["word "] * 200)[:150])
    body = {"model": "cloud", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    gateway.http.post("/v1/messages", json=body)
    assert spent(gateway) == pytest.approx((1000 * 2.0 + 150 * 10.0) / 1e6)


def test_a_stream_that_the_client_leaves_is_paid(both: Both, cloud: FakeUpstream) -> None:
    def script(wire: Wire) -> None:
        wire.send(STREAM_HEAD + chunk(delta("x") * 50))
        wire.wait_for_close()

    cloud.script = script
    gateway = both()
    body = {"model": "cloud", "stream": True, "messages": [{"role": "user", "content": "plan"}]}
    with gateway.http.stream("POST", "/v1/chat/completions", json=body) as left:
        next(left.iter_bytes())
    assert spent(gateway) >= 10.0 / 1e6


class TestACallWithoutAnAnswer:
    """The upstream may have worked nevertheless, so its request is paid."""

    def test_that_times_out(self, both: Both, cloud: FakeUpstream) -> None:
        cloud.script = lambda wire: wire.wait_for_close() and None
        gateway = both(upstream={"first_byte_timeout_s": 0.1})
        assert gateway.chat(ASKED, model="cloud").status_code == 504
        assert spent(gateway) == spent(gateway, "estimated") == pytest.approx(1000 * 2.0 / 1e6, rel=0.02)

    def test_whose_client_leaves(self, both: Both, cloud: FakeUpstream) -> None:
        asked = threading.Event()

        def script(wire: Wire) -> None:
            asked.set()
            wire.wait_for_close()

        cloud.script = script
        gateway = both()
        body = json.dumps({"model": "cloud", "messages": [{"role": "user", "content": ASKED}]}).encode()
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(post_head("/v1/chat/completions", len(body)) + body)
            assert asked.wait(60)
        assert spent(gateway) == pytest.approx(1000 * 2.0 / 1e6, rel=0.02)

    def test_that_lost_a_race(self, both: Both, cloud: FakeUpstream) -> None:
        cloud.script = lambda wire: wire.wait_for_close() and None
        gateway = both(routing={"fallback": ["cloud-to-local"], "hedge_after_s": 0.05})
        assert gateway.chat(ASKED, model="cloud").headers["x-pointsman-upstream"] == "local"
        deadline = time.monotonic() + 60
        while not spent(gateway):
            # The loser is let go behind the answer.
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert spent(gateway) == pytest.approx(1000 * 2.0 / 1e6, rel=0.02)

    def test_that_was_never_sent_costs_nothing(self, both: Both, cloud: FakeUpstream) -> None:
        gateway = both()
        cloud.close()
        assert gateway.chat(ASKED, model="cloud").status_code == 502
        assert spent(gateway) == 0.0


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ("", 0),
        ("four", 1),
        ("工资" * 2, 3),
        ([1, 2, 3], 3),
        ({"a": {"content": "x" * 400, "logprobs": [{"token": "x" * 400}]}}, 100),
        ("data:image/png;base64," + "iVBORw0KGgo" * 10**5, 1000),
        ({"file_data": "JVBERi0x" * 10**4}, 1000),
        ("word " * 10**4, 12500),
        ("\ud800abc", 1),
        (None, 0),
    ],
)
def test_about_how_many_tokens_a_value_has(value: Any, tokens: int) -> None:
    assert estimated_tokens(value) == tokens
