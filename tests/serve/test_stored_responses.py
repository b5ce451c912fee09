"""Turns after one that an upstream keeps, and what is asked of it by its id; and vectors of one upstream."""

import json
from collections.abc import Callable

import pytest
from tests.support.fake_upstream import STREAM_HEAD, FakeUpstream, Wire, answer, chunk, stream
from tests.support.running import Running
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT

from pointsman.serve.chat.response_ids import as_the_client_sees, maker_of
from pointsman.serve.failures import GatewayError

Start = Callable[..., Running]
PRIVATE = [{"name": "private", "send": "local-only", "keywords": ["payroll"]}]
FALLBACK = ["local-to-cloud", "cloud-to-local"]
RAW = "resp_0a-B_c"
BODY = {
    "id": RAW,
    "object": "response",
    "previous_response_id": None,
    "output": [{"id": "msg_1", "text": RAW}],
}


@pytest.fixture
def kept(both: Start, local: FakeUpstream, cloud: FakeUpstream) -> Running:
    local.script = cloud.script = answer(body=json.dumps(BODY).encode())
    return both(routing={"rules": PRIVATE, "fallback": FALLBACK})


def ask(gateway: Running, text: str, **rest: object) -> "object":
    return gateway.http.post("/v1/responses", json={"model": "auto", "input": text, **rest})


@pytest.mark.parametrize(
    ("text", "other", "target"),
    [(LOCAL_TEXT, CLOUD_TEXT, "local"), (CLOUD_TEXT, LOCAL_TEXT, "cloud"), ("payroll", CLOUD_TEXT, "local")],
)
def test_a_follow_up_goes_where_the_turn_before_is_kept(
    kept: Running, local: FakeUpstream, cloud: FakeUpstream, text: str, other: str, target: str
) -> None:
    maker, spared = (local, cloud) if target == "local" else (cloud, local)
    first = ask(kept, text).json()  # type: ignore[attr-defined]
    assert first["id"] == f"resp_{target}_{RAW}"
    assert first["output"] == BODY["output"]
    found = ask(kept, other, previous_response_id=first["id"])
    assert found.headers["x-pointsman-reason"] == "follow_up"  # type: ignore[attr-defined]
    assert maker.seen[-1].json["previous_response_id"] == RAW
    # Nobody else has the turns before: no wish and no failure sends them elsewhere.
    elsewhere = "cloud" if target == "local" else "local"
    for refused in (
        ask(kept, other, previous_response_id=first["id"], model=elsewhere),
        kept.http.post(
            "/v1/responses",
            json={"input": other, "previous_response_id": first["id"]},
            headers={"x-pointsman-policy": f"{elsewhere}-only"},
        ),
    ):
        assert refused.status_code == 400  # type: ignore[attr-defined]
    maker.script = answer(500, b"{}")
    assert ask(kept, other, previous_response_id=first["id"]).status_code >= 500  # type: ignore[attr-defined]
    assert not spared.seen


def test_private_text_after_a_turn_of_the_cloud_is_refused(
    kept: Running, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    for rest in ({"previous_response_id": f"resp_cloud_{RAW}"}, {"conversation": "conv_1"}):
        found = ask(kept, "the payroll", **rest)
        assert found.status_code == 400  # type: ignore[attr-defined]
    assert not local.seen
    assert not cloud.seen
    assert ask(kept, LOCAL_TEXT, conversation={"id": "conv_1"}).status_code == 200  # type: ignore[attr-defined]
    assert cloud.seen[-1].json["conversation"] == {"id": "conv_1"}


class TestConversations:
    """`/v1/conversations`: made by the cloud, unless it has to stay local; asked of its maker."""

    @pytest.fixture
    def made(self, kept: Running, local: FakeUpstream, cloud: FakeUpstream) -> Running:
        made = {"id": "conv_0a-B", "object": "conversation", "metadata": {}}
        local.script = cloud.script = answer(body=json.dumps(made).encode())
        return kept

    @pytest.mark.parametrize(
        ("body", "headers", "target"),
        [
            (b"", {}, "cloud"),
            ({"items": [{"role": "user", "content": "plan"}]}, {}, "cloud"),
            ({"items": [{"role": "user", "content": "the payroll"}]}, {}, "local"),
            ({"metadata": {"topic": "payroll"}}, {}, "local"),
            ({}, {"x-pointsman-policy": "local-only"}, "local"),
        ],
    )
    def test_it_is_marked_with_its_maker_and_used_there(
        self,
        made: Running,
        local: FakeUpstream,
        cloud: FakeUpstream,
        body: object,
        headers: dict[str, str],
        target: str,
    ) -> None:
        maker, spared = (local, cloud) if target == "local" else (cloud, local)
        given = {"content": body} if isinstance(body, bytes) else {"json": body}
        found = made.http.post("/v1/conversations", headers=headers, **given)  # type: ignore[arg-type]
        assert found.json()["id"] == f"conv_{target}_conv_0a-B"
        assert maker.seen[-1].request_line == "POST /v1/conversations HTTP/1.1"
        assert maker.seen[-1].json == (body or {})
        kept_id = found.json()["id"]
        for conversation in (kept_id, {"id": kept_id}):
            ask(made, LOCAL_TEXT, conversation=conversation)
            sent = maker.seen[-1].json["conversation"]
            assert sent == ("conv_0a-B" if conversation == kept_id else {"id": "conv_0a-B"})
        assert not spared.seen

    @pytest.mark.parametrize(
        ("method", "end"),
        [
            *(("GET", ""), ("POST", ""), ("DELETE", ""), ("GET", "/items"), ("POST", "/items")),
            *(("GET", "/items/msg_1"), ("DELETE", "/items/msg_1")),
        ],
    )
    @pytest.mark.parametrize("target", ["local", "cloud"])
    def test_what_is_asked_of_it_is_asked_of_its_maker(
        self, made: Running, local: FakeUpstream, cloud: FakeUpstream, target: str, method: str, end: str
    ) -> None:
        maker, spared = (local, cloud) if target == "local" else (cloud, local)
        body = {"json": {"items": [{"role": "user", "content": "plan"}]}} if method == "POST" else {}
        path = f"/v1/conversations/conv_{target}_conv_0a-B{end}"
        found = made.http.request(method, path, params={"limit": "2"}, **body)  # type: ignore[arg-type]
        assert found.json()["id"] == f"conv_{target}_conv_0a-B"
        assert maker.seen[-1].request_line == f"{method} /v1/conversations/conv_0a-B{end}?limit=2 HTTP/1.1"
        assert maker.seen[-1].json == body.get("json", {}) if method == "POST" else not maker.seen[-1].body
        assert not spared.seen

    @pytest.mark.parametrize(
        ("path", "rest", "status"),
        [
            ("conv_cloud_conv_1/items", {"json": {"items": [{"content": "the payroll"}]}}, 403),
            ("conv_cloud_conv_1/items?include=payroll", {"json": {}}, 403),
            ("conv_1/items", {"json": {"items": [{"content": "the payroll"}]}}, 403),
            ("conv_local_conv_1/items", {"json": {}, "headers": {"x-pointsman-policy": "cloud-only"}}, 403),
            ("conv_1", {"json": {"api_base": "x"}}, 400),
            ("other_1", {"json": {}}, 404),
        ],
    )
    def test_what_must_not_go_there_goes_nowhere(
        self, made: Running, local: FakeUpstream, cloud: FakeUpstream, path: str, rest: object, status: int
    ) -> None:
        found = made.http.post(f"/v1/conversations/{path}", **rest)  # type: ignore[arg-type]
        assert found.status_code == status
        assert made.http.get("/v1/conversations/conv_cloud_c/items/%2e%2e%3fa").status_code == 404
        assert not local.seen
        assert not cloud.seen

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_openais_client_reaches_them(self, made: Running, cloud: FakeUpstream) -> None:
        openai = pytest.importorskip("openai")
        with openai.OpenAI(base_url=f"http://127.0.0.1:{made.port}/v1", api_key="unused") as client:
            found = client.conversations.create(metadata={"a": "b"})
            assert found.id == "conv_cloud_conv_0a-B"
            client.conversations.retrieve(found.id)
            client.conversations.update(found.id, metadata={})
            client.conversations.items.retrieve("msg_1", conversation_id=found.id)
            assert cloud.seen[-1].path == "/v1/conversations/conv_0a-B/items/msg_1"


def test_private_text_in_an_address_goes_to_no_other_upstream(
    kept: Running, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    for address in (
        "cloud_1?include=the+payroll",
        "cloud_1?the%20payroll=1",
        "cloud_%70ayroll",
        "cloud_1?x=%2570ayroll",
    ):
        assert kept.http.get(f"/v1/responses/resp_{address}").status_code == 403, address
    local_only = {"x-pointsman-policy": "local-only"}
    assert kept.http.get("/v1/responses/resp_cloud_1", headers=local_only).status_code == 403
    assert not cloud.seen
    assert kept.http.get("/v1/responses/resp_local_1?include=payroll").status_code == 200
    assert kept.http.get("/v1/responses/resp_cloud_1?include=usage").status_code == 200


def test_an_answer_of_the_other_upstream_is_named_after_it(
    kept: Running, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    local.script = answer(500, b"no")
    found = ask(kept, LOCAL_TEXT).json()  # type: ignore[attr-defined]
    assert (found["pointsman"]["target"], found["id"]) == ("local", f"resp_cloud_{RAW}")


def test_a_stream_names_its_maker_in_every_event(kept: Running, cloud: FakeUpstream) -> None:
    def event(kind: str, **rest: object) -> bytes:
        return f"event: {kind}\ndata: ".encode() + json.dumps({"type": kind, **rest}).encode() + b"\n\n"

    said = f'"id": "{RAW}"'
    events = [
        event("response.created", response=BODY),
        event("response.output_text.delta", delta=said, response_id=RAW, item_id="msg_1"),
        event("response.completed", response={**BODY, "previous_response_id": RAW}),
    ]
    whole = b"".join(events)

    def script(wire: Wire) -> None:
        wire.send(STREAM_HEAD)
        for start in range(0, len(whole), 7):
            wire.send(chunk(whole[start : start + 7]))
        wire.send(b"0\r\n\r\n")

    for cloud.script in (script, stream(events)):
        found = ask(kept, CLOUD_TEXT, stream=True).content  # type: ignore[attr-defined]
        values = [json.loads(line[5:]) for line in found.splitlines() if line.startswith(b"data:")]
        mine = f"resp_cloud_{RAW}"
        assert [values[0]["response"]["id"], values[1]["response_id"]] == [mine, mine]
        assert values[2]["response"]["previous_response_id"] == values[2]["response"]["id"] == mine
        assert values[1]["delta"] == said


@pytest.mark.parametrize(
    ("method", "end"),
    [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items"), ("GET", "/")],
)
@pytest.mark.parametrize("target", ["local", "cloud"])
def test_what_is_asked_by_an_id_is_asked_of_its_maker(
    kept: Running, local: FakeUpstream, cloud: FakeUpstream, target: str, method: str, end: str
) -> None:
    maker, spared = (local, cloud) if target == "local" else (cloud, local)
    path = f"/v1/responses/resp_{target}_{RAW}{end}"
    found = kept.http.request(method, path, params={"include[]": "x y", "limit": "2"})
    assert found.json()["id"] == f"resp_{target}_{RAW}"
    line = f"{method} /v1/responses/{RAW}{end.rstrip('/')}?include%5B%5D=x+y&limit=2 HTTP/1.1"
    assert maker.seen[-1].request_line == line
    assert not spared.seen
    maker.script = answer(404, b'{"error": {"message": "gone"}}')
    assert kept.http.request(method, path).status_code == 404
    maker.close()
    assert kept.http.request(method, path).status_code in (502, 503)
    assert not spared.seen


@pytest.mark.parametrize(
    "name", [RAW, "resp_other_x", "resp_cloud_", "resp_cloud_a%2F..%2Fb", "resp_cloud_%0d%0a"]
)
def test_an_id_that_no_upstream_here_made_is_not_asked_for(
    kept: Running, local: FakeUpstream, cloud: FakeUpstream, name: str
) -> None:
    assert kept.http.get(f"/v1/responses/{name}").status_code == 404
    assert kept.http.get(f"/v1/responses/resp_cloud_{RAW}", params={"api_base": "x"}).status_code == 400
    assert ask(kept, LOCAL_TEXT, previous_response_id=name).status_code == 404  # type: ignore[attr-defined]
    assert ask(kept, LOCAL_TEXT, previous_response_id=7).status_code == 400  # type: ignore[attr-defined]
    assert not local.seen
    assert not cloud.seen


def test_an_only_upstream_made_all_ids_and_names_add_up() -> None:
    assert maker_of(RAW, ["cloud"]) == ("cloud", RAW)
    # One gateway behind another: each takes its own part off.
    assert maker_of(f"resp_cloud_resp_local_{RAW}", ["local", "cloud"]) == ("cloud", f"resp_local_{RAW}")
    with pytest.raises(GatewayError):
        maker_of(f"resp_local_{RAW}", ["cloud"])
    chat = b'{"id": "resp_1"}'
    assert as_the_client_sees(chat, "/chat/completions", "cloud") == chat


class TestEmbeddings:
    def test_they_go_to_the_upstream_that_is_named_with_the_clients_model(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        local.script = answer(body=b'{"data": [{"embedding": [0.25]}]}')
        gateway = both(routing={"embeddings": "local", "rules": PRIVATE})
        asked = {"model": "nomic", "input": ["payroll", CLOUD_TEXT], "dimensions": 2}
        found = gateway.http.post("/v1/embeddings", json=asked)
        assert found.json()["data"] == [{"embedding": [0.25]}]
        assert found.headers["x-pointsman-upstream"] == "local"
        assert local.seen[-1].json == asked
        assert not cloud.seen

    @pytest.mark.parametrize(
        ("body", "headers"),
        [
            ({"input": "the payroll"}, {}),
            ({"input": ["plan", "the payroll"]}, {}),
            ({"input": [[1, 2]]}, {}),
            ({"input": "plan"}, {"x-pointsman-policy": "local-only"}),
            ({"input": "plan", "model": "payroll-vectors"}, {}),
        ],
    )
    def test_text_that_stays_local_gets_no_vector_of_the_cloud(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream, body: object, headers: dict[str, str]
    ) -> None:
        gateway = both(routing={"embeddings": "cloud", "rules": PRIVATE, "fallback": FALLBACK})
        found = gateway.http.post("/v1/embeddings", json=body, headers=headers)
        assert (found.status_code, found.json()["error"]["code"]) == (403, "forbidden")
        assert not local.seen
        assert not cloud.seen

    def test_without_a_name_nobody_answers(self, both: Start, cloud: FakeUpstream) -> None:
        found = both().http.post("/v1/embeddings", json={"input": "plan"})
        assert (found.status_code, found.json()["error"]["code"]) == (503, "no_upstream")
        assert not cloud.seen


@pytest.mark.parametrize(
    ("private", "headers"),
    [
        ("payroll", {"x-pointsman-session": "mine"}),
        ("my review", {"x-pointsman-session": "mine", "x-pointsman-tags": "hr"}),
        ("my review", {"x-pointsman-tags": "hr"}),
        ("my review", {"x-pointsman-policy": "local-only"}),
    ],
)
def test_a_private_conversation_stays_local_on_routes_that_ask_no_router(
    both: Start, local: FakeUpstream, cloud: FakeUpstream, private: str, headers: dict[str, str]
) -> None:
    local.script = answer(body=b'{"id": "conv_1", "object": "conversation"}')
    rules = [*PRIVATE, {"name": "hr", "send": "local-only", "tag": "hr"}]
    gateway = both(routing={"rules": rules, "sticky": True, "embeddings": "cloud"})
    assert gateway.chat(private, headers=headers).headers["x-pointsman-target"] == "local"
    session = {name: value for name, value in headers.items() if "session" in name}
    said = "go on" if session else private
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": said}]}]
    made = gateway.http.post("/v1/conversations", json={"items": items}, headers=session)
    assert (made.status_code, made.json()["id"]) == (200, "conv_local_conv_1")
    path = "/v1/conversations/conv_cloud_1/items"
    assert gateway.http.post(path, json={"items": items}, headers=session).status_code == 403
    assert gateway.http.post("/v1/embeddings", json={"input": said}, headers=session).status_code == 403
    assert not cloud.seen
    assert gateway.http.post("/v1/embeddings", json={"input": "another text"}).status_code == 200
