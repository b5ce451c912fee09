"""The further ways in which OpenAI's SDK, unmodified, asks: raw, streamed, async, typed, with tools."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel
from tests.support.fake_upstream import DONE, STREAM_HEAD, FakeUpstream, Wire, answer, chunk, stream
from tests.support.openai_messages import completion
from tests.support.running import Running, running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT

Start = Callable[..., Running]
SAID: Any = [{"role": "user", "content": CLOUD_TEXT}]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def sdk(gateway: Running, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key="unused", max_retries=0, **options
    )


@pytest.fixture(scope="module")
def demo(artifact: Path) -> Iterator[Running]:
    with running(settings_for(artifact, demo=True)) as made:
        yield made


class TestAgainstTheDemo:
    def test_responses_whole_streamed_and_by_the_helper(self, demo: Running) -> None:
        with sdk(demo) as client:
            for text, target in ((LOCAL_TEXT, "local"), (CLOUD_TEXT, "cloud")):
                said = f"This is the {target} demo model. You said: {text}"
                whole = client.responses.create(model="auto", input=text)
                assert (whole.output_text, whole.status) == (said, "completed")
                assert whole.id.startswith(f"resp_{target}_") and whole.usage and whole.usage.total_tokens
                again = client.responses.create(model="auto", input="hi", previous_response_id=whole.id)
                assert again.id.startswith(f"resp_{target}_")
                events = list(client.responses.create(model="auto", input=text, stream=True))
                deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
                assert "".join(deltas) == said
                assert [event.sequence_number for event in events] == list(range(len(events)))
                with client.responses.stream(model="auto", input=text) as streamed:
                    assert streamed.get_final_response().output_text == said

    def test_raw_and_streaming_responses_show_the_decision(self, demo: Running) -> None:
        with sdk(demo) as client:
            raw = client.chat.completions.with_raw_response.create(model="auto", messages=SAID)
            assert raw.headers["x-pointsman-target"] == "cloud"
            assert raw.parse().choices[0].message.content
            create = client.chat.completions.with_streaming_response.create
            with create(model="auto", messages=SAID, stream=True) as streamed:
                assert streamed.headers["x-pointsman-upstream"] == "cloud"
                assert list(streamed.iter_lines())[-2:] == ["data: [DONE]", ""]
            with client.chat.completions.stream(model="auto", messages=SAID) as helped:
                assert helped.get_final_completion().choices[0].message.content

    def test_many_at_once_by_the_asynchronous_client(self, demo: Running) -> None:
        async def ask() -> list[str]:
            base = f"http://127.0.0.1:{demo.port}/v1"
            async with openai.AsyncOpenAI(base_url=base, api_key="unused", max_retries=0) as client:

                async def one(text: str) -> str:
                    said: Any = [{"role": "user", "content": text}]
                    chunks = await client.chat.completions.create(model="auto", messages=said, stream=True)
                    return "".join([part.choices[0].delta.content or "" async for part in chunks])

                return await asyncio.gather(*(one(text) for text in (LOCAL_TEXT, CLOUD_TEXT) * 8))

        found = asyncio.run(ask())
        assert [said.split()[3] for said in found] == ["local", "cloud"] * 8

    def test_models_and_azures_client(self, demo: Running) -> None:
        with sdk(demo) as client:
            assert client.models.retrieve("auto").id == "auto"
            with pytest.raises(openai.NotFoundError):
                client.models.retrieve("gpt-9")
            with pytest.raises(openai.NotFoundError):
                client.images.generate(prompt="a cat")
        root = f"http://127.0.0.1:{demo.port}"
        azure = openai.AzureOpenAI(
            azure_endpoint=root, api_key="unused", api_version="2024-10-21", max_retries=0
        )
        with (
            azure,
            sdk(
                demo,
            ) as _,
            openai.OpenAI(base_url=f"{root}/openai/v1/", api_key="unused") as newer,
        ):
            for client in (azure, newer):
                found = client.chat.completions.create(model="auto", messages=SAID)
                assert found.choices[0].message.content.startswith("This is the cloud demo model")


def chunks(*deltas: dict[str, Any], usage: dict[str, int] | None = None) -> list[bytes]:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    made = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    made += [] if usage is None else [{**head, "choices": [], "usage": usage}]
    return [*(f"data: {json.dumps(one)}\n\n".encode() for one in made), DONE]


class TestWhatPasses:
    def test_every_field_of_a_request_arrives_as_it_was_said(self, both: Start, cloud: FakeUpstream) -> None:
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        messages: Any = [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "name": "ann", "content": [{"type": "text", "text": CLOUD_TEXT}]},
            {
                "role": "user",
                "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}],
            },
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": ""},
        ]
        more: dict[str, Any] = {
            "n": 3,
            "logprobs": True,
            "top_logprobs": 2,
            "seed": 7,
            "user": "ann",
            "temperature": 0,
            "stop": ["x"],
            "logit_bias": {"5": -1},
            "modalities": ["text", "audio"],
            "store": False,
            "audio": {"voice": "alloy", "format": "wav"},
            "reasoning_effort": "low",
            "metadata": {"a": "b"},
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
            "service_tier": "flex",
        }
        with sdk(both()) as client:
            client.chat.completions.create(
                model="cloud", messages=messages, **more, extra_body={"top_k": 4, "new": {"x": None}}
            )
        wanted = {"model": "big", "messages": messages, **more, "top_k": 4, "new": {"x": None}}
        assert cloud.seen[-1].json == wanted

    def test_tool_calls_and_usage_of_a_stream(self, both: Start, cloud: FakeUpstream) -> None:
        tool = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}
        part = {"index": 0, "function": {"arguments": '{"a": 1}'}}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        deltas: list[dict[str, Any]] = [
            *({"role": "assistant", "content": None, "tool_calls": [tool]}, {"tool_calls": [part]}, {})
        ]
        cloud.script = stream(chunks(*deltas, usage=usage))
        with sdk(both()) as client:
            found = list(
                client.chat.completions.create(
                    model="cloud", messages=SAID, stream=True, stream_options={"include_usage": True}
                )
            )
        assert cloud.seen[-1].json["stream_options"] == {"include_usage": True}
        calls = [one for part in found if part.choices for one in part.choices[0].delta.tool_calls or []]
        assert calls[0].id == "1"
        assert "".join(one.function.arguments or "" for one in calls if one.function) == '{"a": 1}'
        assert not found[-1].choices and found[-1].usage and found[-1].usage.total_tokens == 5
        assert (found[0].model_extra or {})["pointsman"]["target"] == "cloud"

    def test_a_typed_answer(self, both: Start, cloud: FakeUpstream) -> None:
        class City(BaseModel):
            name: str

        cloud.script = answer(body=completion('{"name": "Bern"}'))
        with sdk(both()) as client:
            found = client.chat.completions.parse(model="cloud", messages=SAID, response_format=City)
        assert found.choices[0].message.parsed == City(name="Bern")
        assert cloud.seen[-1].json["response_format"]["type"] == "json_schema"

    def test_several_choices_with_log_probabilities(self, both: Start, cloud: FakeUpstream) -> None:
        value = json.loads(completion("one"))
        value["choices"] = [
            {**value["choices"][0], "index": i, "logprobs": {"content": []}} for i in range(3)
        ]
        cloud.script = answer(body=json.dumps(value).encode())
        with sdk(both()) as client:
            found = client.chat.completions.create(model="cloud", messages=SAID, n=3)
        assert isinstance(found, ChatCompletion) and [one.index for one in found.choices] == [0, 1, 2]

    @pytest.mark.parametrize("messages", [[], [{"role": "user", "content": None}], "hi", ["hi"]])
    def test_what_is_no_conversation_is_the_upstreams_to_refuse(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream, messages: Any
    ) -> None:
        local.script = cloud.script = answer(
            400, b'{"error": {"message": "messages: too short", "code": "x"}}'
        )
        with sdk(both()) as client, pytest.raises(openai.BadRequestError, match="messages: too short"):
            client.chat.completions.create(model="auto", messages=messages)

    def test_a_clients_timeout_and_its_leaving_free_the_upstream(
        self, both: Start, cloud: FakeUpstream
    ) -> None:
        left = threading.Semaphore(0)

        def held(first: bytes) -> Callable[[Wire], None]:
            def script(wire: Wire) -> None:
                wire.send(first)
                if wire.wait_for_close():
                    left.release()

            return script

        gateway = both()
        cloud.script = held(b"")
        with sdk(gateway) as client, pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(model="cloud", messages=SAID, timeout=httpx.Timeout(30, read=0.2))
        assert left.acquire(timeout=60)
        cloud.script = held(STREAM_HEAD + chunk(chunks({"content": "one"})[0]))
        with sdk(gateway) as client:
            streamed = client.chat.completions.create(model="cloud", messages=SAID, stream=True)
            assert next(iter(streamed)).choices[0].delta.content == "one"
            streamed.close()
        assert left.acquire(timeout=60)


@pytest.mark.parametrize(
    "path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/messages/nothing", "/messages"]
)
@pytest.mark.parametrize("key", ["", "u-3f9a1c77b2d84e5f9a0b1c2d3e4f5a6b"])
def test_every_error_under_messages_has_anthropics_shape(both: Start, path: str, key: str) -> None:
    keys = ["u-3f9a1c77b2d84e5f9a0b1c2d3e4f5a6b"]
    gateway = both(auth={"keys": keys}, limits={"body_bytes": 2000, "requests_per_s": 0.001, "burst": 4})
    asked: list[tuple[str, dict[str, Any]]] = [
        *(("GET", {}), ("DELETE", {}), ("POST", {"json": {"messages": "x" * 3000}})),
        *(
            ("POST", {"content": b"{", "headers": {"content-type": "application/json"}}),
            ("POST", {"data": {"a": "b"}}),
        ),
        *(("POST", {"json": [1]}), ("POST", {"json": {}}), ("POST", {"json": {}})),
    ]
    for method, rest in asked:
        headers = {**rest.pop("headers", {}), **({"x-api-key": key} if key else {})}
        found = gateway.http.request(method, path, headers=headers, **rest)
        value = found.json()
        assert found.status_code >= 400
        assert (value["type"], set(value["error"]) >= {"type", "message"}) == ("error", True), found.text
        assert value["request_id"] == found.headers["request-id"]
