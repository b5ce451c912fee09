"""Clients that nobody changed for us, where they are installed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.fake_upstream import FakeUpstream, answer
from tests.support.running import Running, running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT

Start = Callable[..., Running]


@pytest.fixture(scope="module")
def demo(artifact: Path) -> Iterator[Running]:
    with running(settings_for(artifact, demo=True)) as made:
        yield made


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestOpenAI:
    def client(self, gateway: Running) -> "object":
        openai = pytest.importorskip("openai")
        return openai.OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key="unused", max_retries=0)

    def test_chats_use_both_targets_streamed_and_not(self, artifact: object, start: Start) -> None:
        gateway = start(settings_for(artifact, demo=True))  # type: ignore[arg-type]
        with self.client(gateway) as client:  # type: ignore[attr-defined]
            for text, target in ((LOCAL_TEXT, "local"), (CLOUD_TEXT, "cloud")):
                messages = [{"role": "user", "content": text}]
                whole = client.chat.completions.create(model="auto", messages=messages)
                assert whole.choices[0].message.content.startswith(f"This is the {target} demo model")
                assert whole.model_extra["pointsman"]["target"] == target
                with client.chat.completions.create(model="auto", messages=messages, stream=True) as chunks:
                    parts = list(chunks)
                assert parts[0].model_extra["pointsman"]["target"] == target
                said = "".join(part.choices[0].delta.content or "" for part in parts)
                assert said == whole.choices[0].message.content
            assert [model.id for model in client.models.list()] == ["auto", "local", "cloud"]

    def test_errors_are_the_clients_own_classes(self, both: Start, cloud: FakeUpstream) -> None:
        openai = pytest.importorskip("openai")
        gateway = both()
        with self.client(gateway) as client:  # type: ignore[attr-defined]
            messages = [{"role": "user", "content": CLOUD_TEXT}]
            with pytest.raises(openai.BadRequestError) as refused:
                client.chat.completions.create(model="gpt-9", messages=messages)
            assert refused.value.code == "invalid_request"
            cloud.script = answer(429)
            with pytest.raises(openai.RateLimitError) as busy:
                client.chat.completions.create(model="auto", messages=messages)
            assert busy.value.request_id


def test_hugging_faces_client_classifies(plain: Running) -> None:
    hub = pytest.importorskip("huggingface_hub")
    client = hub.InferenceClient(base_url=f"http://127.0.0.1:{plain.port}/")
    found = client.text_classification(CLOUD_TEXT)
    assert found[0].label == "cloud"
    assert found[0].score == pytest.approx(0.9933, abs=1e-3)


def test_tritons_client_sends_text_and_reads_labels(plain: Running) -> None:
    triton = pytest.importorskip("tritonclient.http")
    import numpy as np

    client = triton.InferenceServerClient(f"127.0.0.1:{plain.port}")
    try:
        tensor = triton.InferInput("text", [2], "BYTES")
        tensor.set_data_from_numpy(np.array([CLOUD_TEXT, LOCAL_TEXT], dtype=object))
        found = client.infer("keyword", [tensor])
        assert found.as_numpy("label").tolist() == [b"cloud", b"local"]
        assert found.as_numpy("p_cloud")[0] == pytest.approx(0.9933, abs=1e-3)
    finally:
        client.close()


@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/", "/v1//", "/v1/v1", "//v1"])
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/chat/completions", {"messages": [{"role": "user", "content": CLOUD_TEXT}]}, 200),
        ("/completions", {"prompt": CLOUD_TEXT}, 200),
        ("/responses", {"input": CLOUD_TEXT}, 200),
        ("/messages", {"messages": [{"role": "user", "content": CLOUD_TEXT}], "max_tokens": 9}, 200),
        ("/models", None, 200),
        ("/models/cloud", None, 200),
        ("/chat/completions", None, 405),
        ("/nothing", None, 404),
    ],
)
def test_a_base_address_may_have_a_v1_too_many_or_too_few(
    demo: Running, base: str, path: str, body: object, status: int
) -> None:
    method = "GET" if body is None else "POST"
    found = demo.http.request(method, f"http://127.0.0.1:{demo.port}{base}{path}", json=body)
    assert found.status_code == status, found.text
    if status == 200 and body is not None:
        assert found.headers["x-pointsman-upstream"] == "cloud"
