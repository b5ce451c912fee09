import json
import struct

import httpx
import pytest
from tests.support.running import Running
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT

INFER = "/v2/models/keyword/infer"


def tensor(*texts: str, **rest: object) -> dict[str, object]:
    return {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts), **rest}


def infer(gateway: Running, *inputs: object, **rest: object) -> httpx.Response:
    return gateway.http.post(INFER, json={"inputs": list(inputs), **rest})


def by_name(answer: httpx.Response) -> dict[str, list[object]]:
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def test_metadata_and_readiness(plain: Running) -> None:
    assert plain.http.get("/v2").json()["name"] == "pointsman"
    model = plain.http.get("/v2/models/keyword/versions/1").json()
    assert model["platform"] == "onnx_onnxv1"
    assert model["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/keyword/ready"):
        assert plain.http.get(path).status_code == 200


def test_text_in_labels_and_probabilities_out(plain: Running) -> None:
    answer = infer(plain, tensor(CLOUD_TEXT, LOCAL_TEXT), id="42")
    assert answer.json()["id"] == "42"
    found = by_name(answer)
    assert found["label"] == ["cloud", "local"]
    assert found["p_cloud"][0] == pytest.approx(0.9933071)


def test_only_the_outputs_that_were_asked_for(plain: Running) -> None:
    assert set(by_name(infer(plain, tensor("plan"), outputs=[{"name": "target"}]))) == {"target"}


def test_nested_data_with_its_shape(plain: Running) -> None:
    answer = infer(plain, tensor("plan", shape=[1, 1], data=[["plan"]]))
    assert by_name(answer)["label"] == ["cloud"]


def test_binary_tensors_in_and_out(plain: Running) -> None:
    packed = b"".join(struct.pack("<I", len(text)) + text.encode() for text in (CLOUD_TEXT, LOCAL_TEXT))
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "text",
                    "datatype": "BYTES",
                    "shape": [2],
                    "parameters": {"binary_data_size": len(packed)},
                }
            ],
            "outputs": [{"name": "label", "parameters": {"binary_data": True}}, {"name": "p_cloud"}],
        }
    ).encode()
    headers = {"inference-header-content-length": str(len(head))}
    answer = plain.http.post(INFER, content=head + packed, headers=headers)
    size = int(answer.headers["inference-header-content-length"])
    assert answer.content[size:] == b"\x05\0\0\0cloud\x05\0\0\0local"
    outputs = json.loads(answer.content[:size])["outputs"]
    assert outputs[0]["parameters"] == {"binary_data_size": 18}
    assert outputs[1]["data"] == pytest.approx([0.9933071, 0.0024726], abs=1e-6)


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [tensor("plan"), tensor("plan")],
        ["plan"],
        [tensor("plan", datatype="FP32")],
        [tensor("plan", shape=[2])],
        [tensor("plan", shape=[True, 1.0])],
        [tensor("plan", data=[1])],
        [tensor("plan", data="plan")],
        [tensor("plan", parameters={"binary_data_size": 3})],
    ],
)
def test_refuses_a_tensor_that_does_not_fit(plain: Running, inputs: list[object]) -> None:
    answer = plain.http.post(INFER, json={"inputs": inputs})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "packed", [b"\x05\0\0\0clou", b"\x05\0", struct.pack("<I", 2) + b"\xff\xfe", struct.pack("<I", 2**32 - 1)]
)
def test_refuses_binary_text_that_is_cut_off_or_not_utf8(plain: Running, packed: bytes) -> None:
    parameters = {"binary_data_size": len(packed)}
    head = json.dumps({"inputs": [tensor("x", parameters=parameters)]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    assert plain.http.post(INFER, content=head + packed, headers=headers).status_code == 400


def test_refuses_an_unknown_model_and_output(plain: Running) -> None:
    assert plain.http.get("/v2/models/other").status_code == 404
    assert infer(plain, tensor("plan"), outputs=[{"name": "secret"}]).status_code == 400
    assert infer(plain, tensor("plan"), outputs=[{"name": ["label"]}]).status_code == 400
