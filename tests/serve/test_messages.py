"""`/v1/messages`: Anthropic's SDK, unmodified, requests shaped as by Claude Code, and every way to fail."""

import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import anthropic
import pytest
from tests.support.anthropic_messages import BETAS, MARK, claude_code, error, event, events, message
from tests.support.fake_upstream import STREAM_HEAD, FakeUpstream, Wire, answer, chunk, hang_up, stream
from tests.support.faulty_answers import FAULTS
from tests.support.front_ends import BACKGROUND, BACKGROUND_SYSTEM, QUESTIONS, REMINDER
from tests.support.running import Running, running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT

from pointsman.errors import SettingsError
from pointsman.serve.failures import KINDS
from pointsman.serve.settings import GatewaySettings
from pointsman.serve.upstream.breaker import Breaker

Start = Callable[..., Running]
Speaks = Callable[..., Running]
KEY = "u-3f9a1c77b2d84e5f9a0b1c2d3e4f5a6b"
SECRET = "sk-ant-upstream-0123456789"
BOTH_WAYS = {"fallback": ["local-to-cloud", "cloud-to-local"]}
PRIVATE = {"name": "private", "send": "local-only", "keywords": ["payroll"]}


def whole(text: str = "fine") -> bytes:
    return json.dumps(message(text)).encode()


@pytest.fixture
def speaks(both: Start, local: FakeUpstream, cloud: FakeUpstream) -> Speaks:
    """Start a gateway before two upstreams that speak Anthropic's protocol."""
    local.script = cloud.script = answer(body=whole())

    def make(*, upstream: dict[str, Any] | None = None, **tables: Any) -> Running:
        return both(upstream={"api": "anthropic", "breaker_failures": 10**6, **(upstream or {})}, **tables)

    return make


@pytest.fixture(scope="module")
def demo(artifact: Path) -> Iterator[Running]:
    with running(settings_for(artifact, demo=True)) as made:
        yield made


def sdk(gateway: Running, key: str = "unused", **options: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        base_url=f"http://127.0.0.1:{gateway.port}", api_key=key, **{"max_retries": 0, **options}
    )


def ask(text: str = CLOUD_TEXT, **rest: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": text}]
    return {"model": "claude-opus-5", "max_tokens": 100, "messages": said, **rest}


class TestSDK:
    def test_both_targets_answer_whole_and_streamed_and_count(self, demo: Running) -> None:
        with sdk(demo) as client:
            for text, target in ((LOCAL_TEXT, "local"), (CLOUD_TEXT, "cloud")):
                found = client.messages.create(**ask(text))
                assert isinstance(found.content[0], anthropic.types.TextBlock)
                assert found.content[0].text.startswith(f"This is the {target} demo model")
                assert found.model_extra and found.model_extra["pointsman"]["target"] == target
                with client.messages.stream(**ask(text)) as parts:
                    assert "".join(parts.text_stream) == found.content[0].text
                    assert parts.response.headers["x-pointsman-target"] == target
                    last = parts.get_final_message()
                assert (last.stop_reason, last.usage.output_tokens) == (
                    "end_turn",
                    found.usage.output_tokens,
                )
                counted = client.messages.count_tokens(model="auto", messages=ask(text)["messages"])
                assert counted.input_tokens > 0

    def test_the_plain_loop_over_events_and_the_beta_namespace(
        self, speaks: Speaks, cloud: FakeUpstream
    ) -> None:
        cloud.script = stream(events("one", " two"))
        with sdk(speaks()) as client:
            said = client.messages.create(**ask(), stream=True)
            assert [part.type for part in said][:2] == ["message_start", "content_block_start"]
            kinds = [part.type for part in client.beta.messages.create(**ask(), betas=["a-1"], stream=True)]
        assert kinds[-1] == "message_stop"
        assert [wire.path for wire in cloud.seen] == ["/v1/messages"] * 2
        assert cloud.seen[1].headers["anthropic-beta"] == "a-1"

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, anthropic.BadRequestError),
            (401, anthropic.AuthenticationError),
            (403, anthropic.PermissionDeniedError),
            (404, anthropic.NotFoundError),
            (413, anthropic.APIStatusError),
        ],
    )
    def test_an_upstreams_refusal_is_passed_on(
        self, speaks: Speaks, cloud: FakeUpstream, status: int, kind: type[anthropic.APIStatusError]
    ) -> None:
        cloud.script = answer(status, error("invalid_request_error", "too long"), "request-id: req_1\r\n")
        with sdk(speaks()) as client, pytest.raises(kind) as refused:
            client.messages.create(**ask())
        assert refused.value.api_message == "too long"
        assert (refused.value.status_code, refused.value.request_id) == (status, "req_1")

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (429, anthropic.RateLimitError),
            (529, anthropic.OverloadedError),
            (500, anthropic.InternalServerError),
        ],
    )
    def test_an_upstreams_own_error_is_passed_on(
        self, speaks: Speaks, cloud: FakeUpstream, status: int, kind: type[anthropic.APIStatusError]
    ) -> None:
        cloud.script = answer(status, error("overloaded_error", "busy"), "retry-after: 7\r\n")
        with sdk(speaks()) as client, pytest.raises(kind) as failed:
            client.messages.create(**ask())
        assert (failed.value.status_code, failed.value.api_message) == (status, "busy")
        assert failed.value.response.headers["retry-after"] == "7"
        assert failed.value.response.headers["x-should-retry"] == "true"

    @pytest.mark.parametrize("body", [b"busy", b"{}", b'{"detail": "no"}', b'{"error": {"message": "no"}}'])
    @pytest.mark.parametrize("status", [400, 429, 503, 529])
    def test_an_error_of_any_shape_gets_anthropics(
        self, speaks: Speaks, cloud: FakeUpstream, status: int, body: bytes
    ) -> None:
        cloud.script = answer(status, body)
        with sdk(speaks()) as client, pytest.raises(anthropic.APIStatusError) as failed:
            client.messages.create(**ask())
        assert failed.value.error_code in {*KINDS, "upstream_refused"}
        assert isinstance(failed.value.body, dict) and failed.value.body["type"] == "error"

    def test_it_tries_again_where_the_gateway_says_so(self, speaks: Speaks, cloud: FakeUpstream) -> None:
        scripts = iter([answer(529, error("overloaded_error")), answer(body=whole())])
        cloud.script = lambda wire: next(scripts)(wire)
        with sdk(speaks(), max_retries=1) as client:
            client.messages.create(**ask())
        assert len(cloud.seen) == 2

    def test_a_stream_that_breaks_raises(
        self, speaks: Speaks, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        def broken(wire: Wire) -> None:
            wire.send(STREAM_HEAD + chunk(b"".join(events("one")[:4])))
            wire.reset()

        cloud.script = broken
        with sdk(speaks(routing=BOTH_WAYS)) as client:
            parts = client.messages.create(**ask(), stream=True)
            with pytest.raises(anthropic.APIStatusError) as failed:
                list(parts)
        assert failed.value.error_code == "upstream_invalid"
        assert not local.seen

    @pytest.mark.parametrize("key", [{"api_key": KEY}, {"auth_token": KEY}], ids=str)
    def test_either_key_opens_and_neither_goes_on(
        self, speaks: Speaks, cloud: FakeUpstream, key: dict[str, str]
    ) -> None:
        gateway = speaks(auth={"keys": [KEY]}, upstream={"api_key": SECRET})
        with anthropic.Anthropic(base_url=f"http://127.0.0.1:{gateway.port}", max_retries=0, **key) as client:
            client.messages.create(**ask())
        assert cloud.seen[0].headers["x-api-key"] == SECRET
        assert "authorization" not in cloud.seen[0].headers
        assert KEY not in cloud.seen[0].head.decode()
        with sdk(gateway, "x" * 40) as client, pytest.raises(anthropic.AuthenticationError) as refused:
            client.messages.create(**ask())
        assert refused.value.type == "authentication_error"


class TestWhatIsSent:
    def test_all_but_the_models_name_is_as_it_came(self, speaks: Speaks, cloud: FakeUpstream) -> None:
        gateway = speaks(routing={"background": "router"})
        sent = claude_code(CLOUD_TEXT, results=2)
        headers = {"anthropic-version": "2023-06-01", "anthropic-beta": BETAS, "x-app": "cli"}
        found = gateway.http.post("/v1/messages?beta=true&x=payroll", json=sent, headers=headers)
        assert (found.status_code, found.headers["x-pointsman-upstream"]) == (200, "cloud")
        assert cloud.seen[0].json == {**sent, "model": "big"}
        assert cloud.seen[0].path == "/v1/messages?beta=true"
        assert cloud.seen[0].headers["anthropic-beta"] == BETAS
        assert "x-app" not in cloud.seen[0].headers

    def test_long_and_repeated_beta_headers_go_on_and_a_version_is_added(
        self, speaks: Speaks, cloud: FakeUpstream
    ) -> None:
        gateway = speaks()
        many = [f"a-feature-of-today-2025-05-{index:02}" for index in range(40)]
        headers = [("anthropic-beta", ",".join(many[:30])), ("anthropic-beta", ",".join(many[30:]))]
        gateway.http.post("/v1/messages", json=ask(), headers=headers)
        gateway.http.post("/v1/messages", json=ask(), headers={"anthropic-version": "2099-01-01"})
        assert cloud.seen[0].headers["anthropic-beta"] == ",".join(many)
        assert [wire.headers["anthropic-version"] for wire in cloud.seen] == ["2023-06-01", "2099-01-01"]
        assert "anthropic-beta" not in cloud.seen[1].headers

    def test_a_stream_is_relayed_byte_for_byte(self, speaks: Speaks, cloud: FakeUpstream) -> None:
        cloud.script = stream(events("one", " two"))
        gateway = speaks()
        for path in ("/v1/messages", "/v1/messages/", "//v1/messages"):
            found = gateway.http.post(f"http://127.0.0.1:{gateway.port}{path}", json=ask(stream=True))
            assert found.content == b"".join(events("one", " two"))
            assert found.headers["x-pointsman-reason"]

    def test_a_server_of_both_gets_its_key_in_either_way(self, both: Start, cloud: FakeUpstream) -> None:
        gateway = both(upstream={"api": "both", "api_key": SECRET})
        cloud.script = answer(body=whole())
        assert gateway.http.post("/v1/messages", json=ask()).status_code == 200
        assert gateway.chat().status_code == 200
        for wire in cloud.seen:
            assert (wire.headers["authorization"], wire.headers["x-api-key"]) == (f"Bearer {SECRET}", SECRET)

    def test_tokens_and_money_are_counted_whole_and_streamed(
        self, speaks: Speaks, cloud: FakeUpstream
    ) -> None:
        gateway = speaks()
        at_once = b"".join(events("one"))
        for script, body in (
            (answer(body=whole()), ask()),
            (stream(events("one")), ask(stream=True)),
            (stream([at_once]), ask(stream=True)),
        ):
            cloud.script = script
            gateway.http.post("/v1/messages", json=body)
        gateway.settle()
        sample = gateway.gateway.metrics.registry.get_sample_value
        for kind, tokens in (("in", 3000), ("out", 1500)):
            assert sample("pointsman_tokens_total", {"upstream": "cloud", "kind": kind}) == tokens
        assert sample("pointsman_spent_money_total", {"upstream": "cloud"}) == pytest.approx(0.021)

    def test_counting_is_asked_of_the_upstream_that_would_answer(
        self, speaks: Speaks, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        local.script = cloud.script = answer(body=b'{"input_tokens": 12}')
        gateway = speaks(routing={"rules": [PRIVATE]})
        for text, upstream in ((LOCAL_TEXT, local), (CLOUD_TEXT, cloud), (f"{CLOUD_TEXT} payroll", local)):
            found = gateway.http.post("/v1/messages/count_tokens", json=ask(text))
            assert found.json()["input_tokens"] == 12
            assert upstream.seen[-1].path == "/v1/messages/count_tokens"
            assert CLOUD_TEXT not in text or "payroll" not in text or len(cloud.seen) == 1


class TestClaudeCode:
    @pytest.mark.parametrize("question", QUESTIONS)
    def test_the_question_decides_alone(self, speaks: Speaks, question: str) -> None:
        gateway = speaks()
        wanted = gateway.http.post("/v1/messages", json=ask(question)).headers
        for results, marked in product((0, 2), (False, True)):
            body = claude_code(question, results=results, marked=marked)
            found = gateway.http.post("/v1/messages", json=body).headers
            assert found["x-pointsman-p-cloud"] == wanted["x-pointsman-p-cloud"]
            assert found["x-pointsman-target"] == wanted["x-pointsman-target"]

    @pytest.mark.parametrize("system", [*BACKGROUND_SYSTEM.values()])
    def test_what_it_asks_on_its_own_goes_to_the_background(self, speaks: Speaks, system: str) -> None:
        gateway = speaks()
        blocks = [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.0;"},
            {"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude.", **MARK},
            {"type": "text", "text": system, **MARK},
        ]
        for told in (system, blocks):
            found = gateway.http.post("/v1/messages", json=ask(system=told))
            assert found.headers["x-pointsman-reason"] == "background"

    @pytest.mark.parametrize("name", [name for name in BACKGROUND if name.startswith("Claude Code")])
    def test_and_so_does_what_stands_behind_a_reminder(self, speaks: Speaks, name: str) -> None:
        gateway = speaks()
        body = claude_code(BACKGROUND[name])
        found = gateway.http.post("/v1/messages", json=body)
        assert found.headers["x-pointsman-reason"] == "background"
        body["messages"].append({"role": "assistant", "content": [{"type": "text", "text": "{"}]})
        found = gateway.http.post("/v1/messages", json=body)
        assert found.headers["x-pointsman-reason"] == "background"

    @pytest.mark.parametrize(
        "model", ["claude-opus-5", "us.anthropic.claude-sonnet-4", "gpt-9", "auto", None]
    )
    def test_a_model_that_is_not_known_leaves_the_choice_to_the_router(
        self, speaks: Speaks, model: str | None
    ) -> None:
        gateway = speaks()
        found = gateway.http.post("/v1/messages", json=ask(model=model)).headers
        assert found["x-pointsman-target"] == "cloud" and "x-pointsman-p-cloud" in found

    def test_an_upstreams_model_is_asked_for_by_name_unless_it_is_anthropics(
        self, artifact: Path, start: Start, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        local.script = cloud.script = answer(body=whole())
        upstreams = {
            "local": {"url": local.url, "model": "small", "api": "anthropic"},
            "cloud": {"url": cloud.url, "model": "claude-opus-5", "api": "anthropic"},
        }
        gateway = start(settings_for(artifact, upstreams=upstreams))
        for model, text, reason in (
            ("small", CLOUD_TEXT, "requested"),
            ("cloud", LOCAL_TEXT, "requested"),
            ("claude-opus-5", LOCAL_TEXT, None),
        ):
            found = gateway.http.post("/v1/messages", json=ask(text, model=model)).headers
            assert (found["x-pointsman-reason"] == "requested") == (reason == "requested"), model
        assert found["x-pointsman-target"] == "local"
        assert gateway.http.post("/v1/messages", json=ask(model=5)).status_code == 400

    def test_a_conversation_stays_though_the_mark_of_the_cache_moves(self, speaks: Speaks) -> None:
        gateway = speaks(routing={"sticky": True, "rules": [PRIVATE]})
        question = f"{CLOUD_TEXT} in {{}}"
        first = claude_code(question.format("payroll"))
        assert gateway.http.post("/v1/messages", json=first).headers["x-pointsman-reason"] == "rule:private"
        later = claude_code(question.format("payroll"), results=1, marked=False)
        gateway.gateway.rules = ()
        found = gateway.http.post("/v1/messages", json=later).headers
        assert (found["x-pointsman-reason"], found["x-pointsman-target"]) == ("sticky", "local")

    @pytest.mark.parametrize("place", ["system", "reminder", "result", "call", "tool", "user", "thinking"])
    def test_rules_read_every_place_of_it(
        self, speaks: Speaks, local: FakeUpstream, cloud: FakeUpstream, place: str
    ) -> None:
        gateway = speaks(routing={"rules": [PRIVATE], **BOTH_WAYS})
        body = claude_code(CLOUD_TEXT, results=1)
        last = body["messages"][-1]["content"]
        if place == "system":
            body["system"][1]["text"] += " payroll"
        elif place == "reminder":
            last[1]["text"] = REMINDER.replace("style", "payroll")
        elif place == "result":
            last[0]["content"] = [{"type": "text", "text": "the payroll of May"}]
        elif place == "call":
            body["messages"][1]["content"][1]["input"]["file_path"] = "/payroll.py"
        elif place == "tool":
            body["tools"][0]["input_schema"]["properties"]["payroll"] = {"type": "string"}
        elif place == "user":
            body["metadata"]["user_id"] = "payroll"
        else:
            body["messages"][1]["content"].insert(
                0, {"type": "thinking", "thinking": "payroll", "signature": "x"}
            )
        for script in (answer(body=whole()), hang_up, answer(529, error("overloaded_error"))):
            gateway.gateway.upstreams.get("local").breaker = Breaker(1000, 1)  # type: ignore[union-attr]
            local.script = script
            found = gateway.http.post("/v1/messages", json=body)
            assert found.headers["x-pointsman-reason"] == "rule:private"
        assert local.seen and not cloud.seen

    def test_the_protocols_own_words_are_not_the_requests(self, speaks: Speaks) -> None:
        words = [
            "cache",
            "control",
            "ephemeral",
            "schema",
            "tool",
            "max",
            "tokens",
            "input",
            "metadata",
            "user",
        ]
        rules = [
            {"name": f"r{index}", "send": "local-only", "keywords": [word]}
            for index, word in enumerate(words)
        ]
        gateway = speaks(routing={"rules": rules})
        body = claude_code(CLOUD_TEXT, results=1)
        body["metadata"] = {"user_id": "someone"}
        found = gateway.http.post("/v1/messages", json=body).headers
        assert not found["x-pointsman-reason"].startswith("rule:"), found["x-pointsman-reason"]


class TestFailures:
    def shape(self, found: Any, status: int, code: str) -> dict[str, Any]:
        body = found.json()
        assert (found.status_code, body["error"]["details"]["error_code"]) == (status, code)
        assert body["type"] == "error" and set(body["error"]) >= {"type", "message"}
        assert body["request_id"] == found.headers["request-id"] == found.headers["x-request-id"]
        assert (code in KINDS) and ("retry-after" in found.headers) == KINDS[code].retry_after
        return dict(body["error"])

    def test_every_failure_before_an_upstream_has_anthropics_shape(
        self, artifact: Path, start: Start
    ) -> None:
        gateway = start(settings_for(artifact, limits={"body_bytes": 1000, "header_count": 30}))
        post = gateway.http.post
        kind = {"content-type": "application/json"}
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            found = self.shape(post(path, json=ask()), 503, "no_upstream")
            assert found["type"] == "overloaded_error" and "upstreams" in found["message"]
            self.shape(post(path, content=b"{", headers=kind), 400, "invalid_json")
            self.shape(post(path, content=b"a=1"), 415, "unsupported_media_type")
            large = self.shape(post(path, json=ask("x" * 2000)), 413, "body_too_large")
            assert large["type"] == "request_too_large"
            self.shape(gateway.http.get(path), 405, "method_not_allowed")
            many = {f"x-{index}": "a" for index in range(40)}
            self.shape(post(path, json=ask(), headers=many), 431, "headers_too_large")
        missing = self.shape(post("/v1/messages/batches", json=ask()), 404, "not_found")
        assert missing["type"] == "not_found_error"
        assert "type" not in post("/v1/chat/completions", json=ask()).json()

    def test_what_names_an_upstream_is_refused_here_too(self, speaks: Speaks) -> None:
        found = speaks().http.post("/v1/messages", json=ask(api_base="http://127.0.0.1"))
        assert self.shape(found, 400, "forbidden_parameter")["type"] == "invalid_request_error"

    def test_a_rate_limit_is_told_with_its_time(self, speaks: Speaks) -> None:
        gateway = speaks(limits={"requests_per_s": 0.01, "burst": 1})
        gateway.http.post("/v1/messages", json=ask())
        found = self.shape(gateway.http.post("/v1/messages", json=ask()), 429, "rate_limited")
        assert found["type"] == "rate_limit_error"

    def test_every_fault_of_an_upstream_is_told_in_it(self, speaks: Speaks, cloud: FakeUpstream) -> None:
        gateway = speaks()
        for name, (script, status, code) in FAULTS.items():
            gateway.gateway.upstreams.get("cloud").breaker = Breaker(1000, 1)  # type: ignore[union-attr]
            gateway.wait_for_first_byte("cloud", 0.2 if name == "stall" else 60.0)
            cloud.script = script
            found = gateway.http.post("/v1/messages", json=ask())
            self.shape(found, status, code)
            assert found.json()["pointsman"]["target"] == "cloud", name

    def test_with_leave_the_other_answers(
        self, speaks: Speaks, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        gateway = speaks(routing=BOTH_WAYS)
        local.script = stream(events("one"))
        cloud.script = answer(529, error("overloaded_error"))
        found = gateway.http.post("/v1/messages", json=ask(stream=True))
        assert found.content == b"".join(events("one"))
        assert found.headers["x-pointsman-fallback"] == "rate_limited"
        assert local.seen[0].json["model"] == "small"

    def test_a_slow_one_is_hedged(self, speaks: Speaks, local: FakeUpstream, cloud: FakeUpstream) -> None:
        cloud.script = lambda wire: bool(wire.wait_for_close()) and None
        found = speaks(routing={**BOTH_WAYS, "hedge_after_s": 0.05}).http.post("/v1/messages", json=ask())
        assert (found.status_code, found.headers["x-pointsman-hedged"]) == (200, "true")
        assert local.seen[0].path == "/v1/messages"

    @pytest.mark.parametrize("is_whole", [True, False])
    def test_a_body_that_only_the_connections_end_ends_needs_its_stop(
        self, speaks: Speaks, cloud: FakeUpstream, is_whole: bool
    ) -> None:
        sent = b"".join(events("one") if is_whole else events("one")[:-1])

        def script(wire: Wire) -> None:
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + sent)
            wire.finish()

        cloud.script = script
        found = speaks().http.post("/v1/messages", json=ask(stream=True))
        assert found.content.startswith(sent)
        rest = found.content[len(sent) :]
        assert not rest if is_whole else rest.startswith(b'event: error\ndata: {"type": "error", "error": {')


class TestProtocols:
    """What an upstream is not set to speak, it is not asked in."""

    OTHERS = ("openai", "azure")

    @pytest.mark.parametrize("api", OTHERS)
    @pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
    def test_messages_where_an_upstream_speaks_openai(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream, api: str, path: str
    ) -> None:
        gateway = both(upstream={"api": api}, routing={"rules": [PRIVATE], **BOTH_WAYS})
        for text, target in ((LOCAL_TEXT, "local"), (CLOUD_TEXT, "cloud"), ("payroll", "local")):
            for streams in (False, True):
                found = gateway.http.post(path, json=ask(text, stream=streams))
                told = TestFailures().shape(found, 501, "protocol_not_spoken")
                assert f"upstreams.{target}.api" in told["message"] and "anthropic or both" in told["message"]
                assert found.headers["x-should-retry"] == "false"
        assert not local.seen and not cloud.seen

    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses"])
    def test_chats_where_an_upstream_speaks_anthropic(
        self, speaks: Speaks, cloud: FakeUpstream, path: str
    ) -> None:
        body = {"model": "auto", "messages": ask()["messages"], "prompt": CLOUD_TEXT, "input": CLOUD_TEXT}
        found = speaks().http.post(path, json=body)
        assert (found.status_code, found.json()["error"]["code"]) == (501, "protocol_not_spoken")
        assert "upstreams.cloud.api" in found.json()["error"]["message"]
        assert not cloud.seen

    def test_one_that_speaks_it_answers_for_one_that_does_not_only_with_leave(
        self, artifact: Path, start: Start, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        cloud.script = answer(body=whole())
        upstreams = {
            "local": {"url": local.url, "model": "small"},
            "cloud": {"url": cloud.url, "model": "big", "api": "anthropic"},
        }
        for routing, status in (({}, 501), (BOTH_WAYS, 200)):
            gateway = start(settings_for(artifact, upstreams=upstreams, routing=routing))
            found = gateway.http.post("/v1/messages", json=ask(LOCAL_TEXT))
            assert (found.status_code, found.headers["x-pointsman-target"]) == (status, "local")
            assert found.headers.get("x-pointsman-fallback") == ("protocol" if status == 200 else None)
            assert not local.seen

    def test_anthropics_api_needs_a_model(self) -> None:
        with pytest.raises((SettingsError, ValueError), match="set model"):
            GatewaySettings.model_validate(
                {"upstreams": {"cloud": {"url": "https://api.anthropic.com/v1", "api": "anthropic"}}}
            )


def test_a_ping_is_no_first_byte(speaks: Speaks, local: FakeUpstream, cloud: FakeUpstream) -> None:
    ping = event({"type": "ping"})
    cloud.script = stream([ping, *events("one")])
    gateway = speaks(routing=BOTH_WAYS)
    with sdk(gateway) as client, client.messages.stream(**ask()) as parts:
        assert parts.get_final_text() == "one"

    def broken(wire: Wire) -> None:
        wire.send(STREAM_HEAD + chunk(ping) + chunk(ping))
        wire.reset()

    cloud.script, local.script = broken, stream(events("two"))
    found = gateway.http.post("/v1/messages", json=ask(stream=True))
    assert found.content == b"".join(events("two"))
    assert found.headers["x-pointsman-fallback"] == "reset"


def test_a_key_of_the_clients_own_beside_the_gateways_is_no_hindrance(speaks: Speaks) -> None:
    gateway = speaks(auth={"keys": [KEY]})
    own = {"authorization": "Bearer sk-ant-oat01-of-the-client"}
    assert gateway.http.post("/v1/messages", json=ask(), headers={**own, "x-api-key": KEY}).status_code == 200
    assert gateway.http.post("/v1/messages", json=ask(), headers=own).status_code == 401
