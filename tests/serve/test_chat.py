import json
import threading
from collections.abc import Callable

import pytest
from tests.serve.conftest import CLOUD_MODEL, LOCAL_MODEL
from tests.support.fake_upstream import (
    DONE,
    STREAM_HEAD,
    FakeUpstream,
    Wire,
    answer,
    chunk,
    delta,
    hang_up,
    stream,
)
from tests.support.front_ends import WRAPPED
from tests.support.running import Running
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT

Start = Callable[..., Running]


class TestWhoAnswers:
    @pytest.mark.parametrize(("text", "target"), [(LOCAL_TEXT, "local"), (CLOUD_TEXT, "cloud")])
    def test_auto_asks_the_router(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream, text: str, target: str
    ) -> None:
        found = both().chat(text)
        asked, spared = (local, cloud) if target == "local" else (cloud, local)
        assert (len(asked.seen), len(spared.seen)) == (1, 0)
        assert asked.seen[0].json["model"] == (LOCAL_MODEL if target == "local" else CLOUD_MODEL)
        assert found.json()["pointsman"]["target"] == found.headers["x-pointsman-target"] == target
        assert found.json()["pointsman"]["reason"] == "model"

    @pytest.mark.parametrize(
        ("model", "target", "reason"),
        [
            ("local", "local", "requested"),
            ("cloud", "cloud", "requested"),
            (CLOUD_MODEL, "cloud", "requested"),
            (LOCAL_MODEL, "local", "requested"),
            ("pointsman", "cloud", "model"),
            ("router-0.999", "local", "threshold"),
            ("router-mf-0.11593", "cloud", "model"),
        ],
    )
    def test_the_model_chooses(self, both: Start, model: str, target: str, reason: str) -> None:
        found = both().chat(CLOUD_TEXT, model=model).json()["pointsman"]
        assert (found["target"], found["reason"]) == (target, reason)

    @pytest.mark.parametrize(
        "model",
        ["gpt-9", "router-", "router-2", "router-mf-x", "http://evil", "", 7, ["auto"], {"a": 1}, True],
    )
    def test_any_other_model_is_refused(self, both: Start, cloud: FakeUpstream, model: object) -> None:
        found = both().chat(model=model)
        assert (found.status_code, found.json()["error"]["code"]) == (400, "invalid_request")
        assert not cloud.seen

    @pytest.mark.parametrize(
        ("model", "target", "reason"),
        [
            ("gpt-4o", "cloud", "model"),
            ("org/mini", "local", "requested"),
            (LOCAL_MODEL, "cloud", "requested"),
        ],
    )
    def test_an_alias_means_what_the_operator_says(
        self, both: Start, cloud: FakeUpstream, model: str, target: str, reason: str
    ) -> None:
        aliases = {"gpt-4o": "auto", "org/mini": "local", LOCAL_MODEL: "cloud"}
        rules = [{"name": "private", "send": "local-only", "keywords": ["payroll"]}]
        gateway = both(routing={"aliases": aliases, "rules": rules})
        found = gateway.chat(CLOUD_TEXT, model=model).json()["pointsman"]
        assert (found["target"], found["reason"]) == (target, reason)
        path = f"/openai/deployments/{model}/chat/completions"
        if "/" not in model:
            body = {"messages": [{"role": "user", "content": CLOUD_TEXT}]}
            assert gateway.http.post(path, json=body).json()["pointsman"]["target"] == target
        assert gateway.chat("payroll", model=model).headers["x-pointsman-target"] == "local"
        listed = [one["id"] for one in gateway.http.get("/v1/models/").json()["data"]]
        assert listed == ["auto", "local", "cloud", *aliases]
        for name in (*listed, "router-0.7", CLOUD_MODEL):
            for written in (name, name.replace("/", "%2F"), f"{name}/"):
                assert gateway.http.get(f"/v1/models/{written}").json()["id"] == name
        missing = gateway.http.get("/v1/models/gpt-9")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
        assert gateway.chat(model="gpt-9").status_code == 400

    def test_an_unknown_model_may_leave_the_choice_to_the_router(self, both: Start) -> None:
        gateway = both(routing={"unknown_model": "auto"})
        for text, target in ((CLOUD_TEXT, "cloud"), (LOCAL_TEXT, "local")):
            assert gateway.chat(text, model="gpt-9").json()["pointsman"]["target"] == target
        assert gateway.http.get("/v1/models/gpt-9").status_code == 200
        for model in (7, ["auto"], True):
            assert gateway.chat(model=model).status_code == 400

    def test_a_hint_binds_and_an_unknown_one_is_refused(self, both: Start) -> None:
        gateway = both()
        found = gateway.chat(CLOUD_TEXT, headers={"x-pointsman-policy": "local-only"}).json()["pointsman"]
        assert (found["target"], found["reason"]) == ("local", "policy")
        assert gateway.chat(headers={"x-pointsman-policy": "cheap"}).status_code == 400

    def test_rules_come_before_the_model_and_privacy_before_all(
        self, both: Start, cloud: FakeUpstream
    ) -> None:
        rules = [
            {"name": "tools", "send": "cloud", "has_tools": True},
            {"name": "vip", "send": "cloud", "tag": "vip"},
            {"name": "private", "send": "local-only", "keywords": ["payroll"], "pattern": r"\d"},
        ]
        gateway = both(routing={"rules": rules})
        tools = [{"type": "function", "function": {"name": "f"}}]
        assert gateway.chat(LOCAL_TEXT, tools=tools).json()["pointsman"]["reason"] == "rule:tools"
        tagged = gateway.chat(LOCAL_TEXT, headers={"x-pointsman-tags": "a, vip"})
        assert tagged.headers["x-pointsman-reason"] == "rule:vip"
        sent = len(cloud.seen)
        private = gateway.chat(
            "the PAYROLL of 2024", model="cloud", tools=tools, headers={"x-pointsman-policy": "cloud-only"}
        )
        assert private.json()["pointsman"] | {"decision_ms": 0} == {
            "target": "local",
            "reason": "rule:private",
            "upstream": "local",
            "fallback": None,
            "decision_ms": 0,
        }
        traced = gateway.chat(CLOUD_TEXT, headers={"tracestate": "team=payroll-7"})
        assert traced.headers["x-pointsman-reason"] == "rule:private"
        assert len(cloud.seen) == sent

    def test_a_conversation_may_stay_where_it_began(self, both: Start) -> None:
        gateway = both(routing={"sticky": True})
        first = {"role": "user", "content": LOCAL_TEXT}
        assert gateway.chat(messages=[first]).json()["pointsman"]["target"] == "local"
        longer = [first, {"role": "assistant", "content": "fine"}, {"role": "user", "content": CLOUD_TEXT}]
        found = gateway.chat(messages=longer).json()["pointsman"]
        assert (found["target"], found["reason"]) == ("local", "sticky")
        other = [{"role": "user", "content": "play"}, *longer[1:]]
        assert gateway.chat(messages=other).json()["pointsman"]["target"] == "cloud"

    def test_after_a_private_turn_a_conversation_stays_local(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        rules = [{"name": "private", "send": "local-only", "keywords": ["payroll"]}]
        gateway = both(routing={"sticky": True, "rules": rules, "fallback": ["local-to-cloud"]})
        mine = {"x-pointsman-session": "7"}
        assert gateway.chat("the payroll", headers=mine).headers["x-pointsman-reason"] == "rule:private"
        wishes: list[dict[str, object]] = [{}, {"model": "cloud"}, {"tools": [{"type": "function"}]}]
        for wish in wishes:
            found = gateway.chat(CLOUD_TEXT, headers=mine, **wish).json()["pointsman"]
            assert (found["target"], found["reason"]) == ("local", "sticky")
        found = gateway.chat(CLOUD_TEXT, headers={**mine, "x-pointsman-policy": "cloud-only"})
        assert found.headers["x-pointsman-target"] == "local"
        local.script = hang_up
        assert gateway.chat(CLOUD_TEXT, headers=mine).json()["error"]["code"] == "local_unavailable"
        assert not cloud.seen
        assert gateway.chat(CLOUD_TEXT, headers={"x-pointsman-session": "8"}).status_code == 200

    def test_a_policy_is_remembered_until_the_client_wishes_otherwise(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        gateway = both(routing={"sticky": True, "fallback": ["local-to-cloud"]})
        mine = {"x-pointsman-session": "7"}
        assert gateway.chat(CLOUD_TEXT, headers=mine).headers["x-pointsman-target"] == "cloud"
        only = {**mine, "x-pointsman-policy": "local-only"}
        assert gateway.chat(CLOUD_TEXT, headers=only).headers["x-pointsman-target"] == "local"
        local.script = hang_up
        sent = len(cloud.seen)
        assert gateway.chat(CLOUD_TEXT, headers=mine).json()["error"]["code"] == "local_unavailable"
        assert len(cloud.seen) == sent
        assert gateway.chat(CLOUD_TEXT, headers=mine, model="cloud").status_code == 200

    def test_of_several_headers_the_strictest_counts(self, both: Start) -> None:
        rules = [{"name": "secret", "send": "local-only", "tag": "secret"}]
        gateway = both(routing={"sticky": True, "rules": rules})

        def asked(*headers: tuple[str, str]) -> tuple[int, str | None]:
            body = {"messages": [{"role": "user", "content": CLOUD_TEXT}]}
            found = gateway.http.post("/v1/chat/completions", json=body, headers=list(headers))
            return found.status_code, found.headers.get("x-pointsman-reason")

        policy, tags = "x-pointsman-policy", "x-pointsman-tags"
        assert asked((policy, "cloud-only"), (policy, "local-only")) == (200, "policy")
        assert asked((policy, "auto, Local-Only")) == (200, "policy")
        assert asked((policy, "local-only"), (policy, "cheap"))[0] == 400
        assert asked((policy, ""))[0] == 400
        assert asked((tags, "a"), (tags, "b, secret")) == (200, "rule:secret")
        assert asked(("x-pointsman-session", "a"), ("x-pointsman-session", "b"))[0] == 400

    def test_a_front_ends_own_prompts_go_where_the_operator_says(self, both: Start) -> None:
        title = "Please write a 5-10 word title for the following conversation: analyze the plan"

        def asked(gateway: Running, **rest: object) -> tuple[str, str]:
            found = gateway.chat(title, **rest).json()["pointsman"]
            return found["target"], found["reason"]

        gateway = both(routing={"sticky": True})
        mine = {"x-pointsman-session": "7"}
        assert asked(gateway, headers=mine) == ("local", "background")
        assert gateway.chat(CLOUD_TEXT, headers=mine).headers["x-pointsman-target"] == "cloud"
        assert asked(gateway, model="cloud") == ("cloud", "requested")
        fill_in = gateway.http.post("/v1/completions", json={"prompt": CLOUD_TEXT, "suffix": "x"})
        assert fill_in.headers["x-pointsman-reason"] == "background"
        assert asked(both(routing={"background": "router"})) == ("cloud", "model")

    @pytest.mark.parametrize("front_end", WRAPPED)
    def test_rules_read_the_wrapping_too(self, both: Start, cloud: FakeUpstream, front_end: str) -> None:
        words = """guide visible cwd local-command-caveat interrupted brief ide result const current_file
            today distribute citations plan.txt analyst"""
        rules = [{"name": "private", "send": "local-only", "keywords": words.split()}]
        body = {"messages": [{"role": "user", "content": WRAPPED[front_end]("play")}]}
        found = both(routing={"rules": rules}).http.post("/v1/chat/completions", json=body)
        assert found.headers["x-pointsman-reason"] == "rule:private"
        assert not cloud.seen

    def test_without_upstreams_it_says_so(self, plain: Running) -> None:
        found = plain.chat()
        assert (found.status_code, found.json()["error"]["code"]) == (503, "no_upstream")

    def test_models_lists_what_may_be_said(self, both: Start) -> None:
        found = both().http.get("/v1/models").json()
        assert [model["id"] for model in found["data"]] == ["auto", "local", "cloud"]


class TestPassedThrough:
    def test_everything_but_the_model_reaches_the_upstream_as_it_came(
        self, both: Start, cloud: FakeUpstream
    ) -> None:
        body = {
            "model": "auto",
            "messages": [
                {"role": "system", "content": "Be brief. ünïcode \u2603 \U0001f600"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": CLOUD_TEXT},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    ],
                },
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": [1, 2.50, None]}}}],
            "temperature": 0.1,
            "seed": 12345678901234567890,
            "unheard_of": {"nested": [True, False, {}]},
            "metadata": {"team": "a"},
        }
        assert both().http.post("/v1/chat/completions", json=body).status_code == 200
        assert cloud.seen[0].json == {**body, "model": CLOUD_MODEL}
        assert cloud.seen[0].path == "/v1/chat/completions"

    def test_the_answer_is_the_upstreams_with_one_field_more(self, both: Start, cloud: FakeUpstream) -> None:
        given = b'{ "id":"x",  "choices": [ ], "big": 1.10, "usage": null }\n'
        cloud.script = answer(body=given)
        found = both().chat()
        assert found.content.startswith(given.rstrip()[:-1].rstrip() + b',"pointsman":')
        decision = found.json()["pointsman"]
        assert decision["upstream"] == "cloud"
        assert decision["p_cloud"] == pytest.approx(0.993307)

    def test_client_errors_pass_with_the_decision(self, both: Start, cloud: FakeUpstream) -> None:
        cloud.script = answer(422, b'{"error":{"message":"no such tool","code":"bad"}}')
        found = both().chat()
        assert found.status_code == 422
        assert found.json()["error"] == {"message": "no such tool", "code": "bad"}
        assert found.json()["pointsman"]["target"] == "cloud"
        assert len(cloud.seen) == 1

    def test_only_listed_headers_cross_in_either_direction(
        self, both: Start, cloud: FakeUpstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SOME_KEY", "our-own-key")
        cloud.script = answer(
            headers="set-cookie: a=b\r\nx-internal: 1\r\nx-ratelimit-remaining-requests: 7\r\n"
        )
        sent = {
            "authorization": "Bearer client-key",
            "cookie": "c=d",
            "x-forwarded-for": "1.2.3.4",
            "x-secret": "s",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "x-request-id": "abc-1",
        }
        found = both(upstream={"api_key_env": "SOME_KEY"}).chat(headers=sent)
        wire = cloud.seen[0]
        assert wire.headers["authorization"] == "Bearer our-own-key"
        assert sorted(wire.header_names) == [
            "accept",
            "accept-encoding",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "traceparent",
            "user-agent",
            "x-request-id",
        ]
        assert wire.headers["x-request-id"] == found.headers["x-request-id"] == "abc-1"
        assert found.headers["x-ratelimit-remaining-requests"] == "7"
        assert not {"set-cookie", "x-internal"} & set(found.headers)

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/completions", {"model": "auto", "prompt": CLOUD_TEXT}),
            ("/responses", {"model": "auto", "input": CLOUD_TEXT}),
            ("/responses", {"model": "auto", "input": [{"role": "user", "content": CLOUD_TEXT}]}),
        ],
    )
    def test_completions_and_responses(
        self, both: Start, cloud: FakeUpstream, path: str, body: dict[str, object]
    ) -> None:
        found = both().http.post(f"/v1{path}", json=body)
        assert found.json()["pointsman"]["target"] == "cloud"
        assert cloud.seen[0].path == f"/v1{path}"

    def test_azure_has_its_own_paths_and_header(
        self, artifact: object, cloud: FakeUpstream, start: Start
    ) -> None:
        from tests.support.running import settings_for

        azure = {
            "url": cloud.url.removesuffix("/v1"),
            "api": "azure",
            "model": "gpt-4o-eu",
            "api_version": "2024-10-21",
            "api_key": "k" * 20,
        }
        gateway = start(settings_for(artifact, upstreams={"cloud": azure}))  # type: ignore[arg-type]
        found = gateway.http.post(
            "/openai/deployments/auto/chat/completions?api-version=2024-10-21",
            json={"messages": [{"role": "user", "content": CLOUD_TEXT}]},
        )
        assert found.json()["pointsman"]["target"] == "cloud"
        wire = cloud.seen[0]
        assert wire.path == "/openai/deployments/gpt-4o-eu/chat/completions?api-version=2024-10-21"
        assert wire.headers["api-key"] == "k" * 20
        assert "authorization" not in wire.headers


class TestStreams:
    def test_each_piece_goes_on_before_the_next_one_exists(self, both: Start, cloud: FakeUpstream) -> None:
        received = threading.Semaphore(0)
        pieces = [delta("one"), delta("two"), b": comment\n\n", delta("drei \u2603"), DONE]

        def script(wire: Wire) -> None:
            wire.send(STREAM_HEAD)
            for piece in pieces:
                wire.send(chunk(piece))
                # The next one is sent only when the client has this one: nothing is held back.
                assert received.acquire(timeout=60)
            wire.send(b"0\r\n\r\n")

        cloud.script = script
        gateway = both(routing={"stream_decision": "off"})
        body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": CLOUD_TEXT}]}
        got: list[bytes] = []
        with gateway.http.stream("POST", "/v1/chat/completions", json=body) as found:
            assert found.headers["content-type"] == "text/event-stream"
            for data in found.iter_raw():
                got.append(data)
                received.release()
        assert got == pieces

    def test_bytes_are_the_upstreams_whatever_it_cuts(self, both: Start, cloud: FakeUpstream) -> None:
        whole = (
            delta("a\u2603b")
            + b"data: {broken json\n\n"
            + b": keep-alive\r\n\r\n"
            + b"event: x\r\ndata: 1\r\n\r\n"
            + b"data:[DONE]\n\n"
        )
        cloud.script = stream([whole[index : index + 1] for index in range(len(whole))])
        found = both(routing={"stream_decision": "off"}).chat(stream=True)
        assert found.content == whole

    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
    @pytest.mark.parametrize("ahead", [b"", b": waiting\n\n", b": a\r\n\r\n:\n\n", b"event: x\nid: 1\n"])
    def test_the_decision_is_a_field_of_the_first_chunk(
        self, both: Start, cloud: FakeUpstream, path: str, ahead: bytes
    ) -> None:
        cloud.script = stream([ahead + delta("x"), delta("y"), DONE])
        messages = [{"role": "user", "content": CLOUD_TEXT}]
        found = both().http.post(path, json={"messages": messages, "prompt": CLOUD_TEXT, "stream": True})
        assert found.content.startswith(ahead)
        first, rest = found.content.removeprefix(ahead).split(b"\n\n", 1)
        value = json.loads(first.removeprefix(b"data: "))
        decision = value.pop("pointsman")
        assert decision["target"] == found.headers["x-pointsman-target"] == "cloud"
        assert value == json.loads(delta("x").removeprefix(b"data: "))
        assert rest == delta("y") + DONE

    @pytest.mark.parametrize(
        "first",
        [
            DONE,
            b"data: [1]\n\n",
            b"data: {\ndata: }\n\n",
            b'data: {"a": {}\r\ndata: }\r\n\r\n',
            b"dat: {}\n\n",
        ],
    )
    def test_a_first_event_that_takes_no_field_goes_on_as_it_is(
        self, both: Start, cloud: FakeUpstream, first: bytes
    ) -> None:
        cloud.script = stream([first, DONE])
        found = both().chat(stream=True)
        comment, rest = found.content.split(b"\n\n", 1)
        assert comment.startswith(b': pointsman {"target": "cloud"')
        assert rest == first + DONE

    def test_or_a_comment(self, both: Start, cloud: FakeUpstream) -> None:
        cloud.script = stream([delta("x"), DONE])
        found = both(routing={"stream_decision": "comment"}).chat(stream=True)
        assert found.content.startswith(b': pointsman {"target": "cloud"')

    def test_tokens_and_money_are_counted(self, both: Start, cloud: FakeUpstream) -> None:
        usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
        last = b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"
        cloud.script = stream([delta("x"), last, DONE])
        gateway = both()
        gateway.chat(stream=True)
        gateway.chat(LOCAL_TEXT)
        gateway.settle()
        sample = gateway.gateway.metrics.registry.get_sample_value
        price = 1000 * 2e-6 + 500 * 10e-6
        assert sample("pointsman_tokens_total", {"upstream": "cloud", "kind": "in"}) == 1000
        assert sample("pointsman_spent_money_total", {"upstream": "cloud"}) == pytest.approx(price)
        # The local model answered as many tokens for nothing.
        assert sample("pointsman_saved_money_total") == pytest.approx(price)
        assert "USD that the cloud would have cost" in gateway.admin.get("/metrics").text
        assert gateway.http.get("/live.json").json()["currency"] == "USD"


def test_a_forbidden_parameter_names_no_upstream(
    both: Start, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    gateway = both()
    for rest in (
        {"api_base": "http://127.0.0.1:1"},
        {"base_url": "http://127.0.0.1:1"},
        {"api_key": "x"},
        {"extra_body": {"api_base": "http://127.0.0.1:1"}},
        {"metadata": {"base_url": "http://127.0.0.1:1"}},
    ):
        found = gateway.chat(**rest)
        assert (found.status_code, found.json()["error"]["code"]) == (400, "forbidden_parameter")
    assert not local.seen
    assert not cloud.seen


def test_the_demo_answers_without_anything_else(artifact: object, start: Start) -> None:
    from tests.support.running import settings_for

    gateway = start(settings_for(artifact, demo=True))  # type: ignore[arg-type]
    for text, target in ((LOCAL_TEXT, "local"), (CLOUD_TEXT, "cloud")):
        said = gateway.chat(text).json()["choices"][0]["message"]["content"]
        assert said == f"This is the {target} demo model. You said: {text}"
    streamed = gateway.chat(LOCAL_TEXT, stream=True).text
    assert streamed.endswith(DONE.decode())
