"""The Open Inference Protocol, version 2: text as `BYTES` in, labels and probabilities out.

Triton's binary tensors are read and written too, because its client sends text that way.
"""

import json
import struct
from typing import Any

from pointsman import __version__
from pointsman.serve.classification.classify import decide_texts
from pointsman.serve.edge.http import Exchange
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway
from pointsman.serve.inference.engine import Answer

_HEADER = b"inference-header-content-length"
_INPUT = "text"
_OUTPUTS = {"label": "BYTES", "p_cloud": "FP32", "target": "BYTES", "confidence": "FP32"}


async def server(gateway: Gateway, exchange: Exchange) -> None:
    """`/v2`: who answers."""
    extensions = ["binary_tensor_data"]
    await exchange.respond_json({"name": "pointsman", "version": __version__, "extensions": extensions})


async def model(gateway: Gateway, exchange: Exchange) -> None:
    """`/v2/models/{model}`: names, types and shapes of the tensors."""
    name = _checked_name(gateway, exchange)
    await exchange.respond_json(
        {
            "name": name,
            "versions": ["1"],
            "platform": "onnx_onnxv1",
            "inputs": [{"name": _INPUT, "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": key, "datatype": kind, "shape": [-1]} for key, kind in _OUTPUTS.items()],
        }
    )


async def model_ready(gateway: Gateway, exchange: Exchange) -> None:
    """`/v2/models/{model}/ready`."""
    _checked_name(gateway, exchange)
    if not gateway.is_ready:
        raise GatewayError("model_unavailable", "the classifier is not ready")
    await exchange.respond(200, b"{}")


async def infer(gateway: Gateway, exchange: Exchange) -> None:
    """`/v2/models/{model}/infer`: one input of datatype BYTES, any shape; an answer of the same size."""
    name = _checked_name(gateway, exchange)
    limits = gateway.settings.limits
    body = await exchange.body(limits.text_body_bytes, limits.body_timeout_s)
    request, binary = await _split(gateway, exchange, body)
    texts = _texts(request, binary)
    answers = await decide_texts(gateway, exchange, texts)
    wanted = _wanted(request)
    head: dict[str, Any] = {"model_name": name, "model_version": "1"}
    if isinstance(request.get("id"), str):
        head["id"] = request["id"]
    await _respond(exchange, head, wanted, answers)


async def _split(gateway: Gateway, exchange: Exchange, body: bytes) -> tuple[dict[str, Any], bytes]:
    announced = exchange.header(_HEADER)
    if announced is None:
        return await gateway.read_object(body), b""
    if not announced.isdecimal() or int(announced) > len(body):
        raise GatewayError(
            "invalid_request", "inference-header-content-length: expected a length in the body"
        )
    return await gateway.read_object(body[: int(announced)]), body[int(announced) :]


def _checked_name(gateway: Gateway, exchange: Exchange) -> str:
    name = exchange.params["model"]
    if name not in (gateway.engine.current.router.manifest.name, "pointsman", "router"):
        raise GatewayError("not_found", "there is no such model; GET /v1/models lists them")
    return name


def _texts(request: dict[str, Any], binary: bytes) -> list[str]:
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise GatewayError("invalid_request", "inputs: expected one tensor")
    tensor = inputs[0]
    if tensor.get("datatype") != "BYTES":
        raise GatewayError("invalid_request", "inputs: expected datatype BYTES")
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None:
        if not isinstance(size, int) or isinstance(size, bool) or size != len(binary):
            raise GatewayError("invalid_request", "inputs: binary_data_size is not the size of what follows")
        texts = _unpack(binary)
    else:
        texts = _flat(tensor.get("data"))
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise GatewayError("invalid_request", "inputs: expected a shape")
    expected = 1
    for n in shape:
        expected *= n
    if expected != len(texts):
        raise GatewayError("invalid_request", "inputs: the shape does not fit the data")
    return texts


def _flat(data: Any) -> list[str]:
    if not isinstance(data, list):
        raise GatewayError("invalid_request", "inputs: expected data")
    texts: list[str] = []
    for item in data:
        if isinstance(item, list):
            texts += _flat(item)
        elif isinstance(item, str):
            texts.append(item)
        else:
            raise GatewayError("invalid_request", "inputs: expected texts as data")
    return texts


def _unpack(binary: bytes) -> list[str]:
    """Each text is its length as 4 little-endian bytes, then its UTF-8."""
    texts = []
    start = 0
    while start < len(binary):
        if start + 4 > len(binary):
            raise GatewayError("invalid_request", "inputs: a text is cut off")
        (length,) = struct.unpack_from("<I", binary, start)
        start += 4
        if start + length > len(binary):
            raise GatewayError("invalid_request", "inputs: a text is cut off")
        try:
            texts.append(binary[start : start + length].decode("utf-8"))
        except UnicodeDecodeError:
            raise GatewayError("invalid_request", "inputs: a text is not UTF-8") from None
        start += length
    return texts


def _wanted(request: dict[str, Any]) -> list[tuple[str, bool]]:
    """Names of outputs, and whether each shall be binary."""
    parameters = request.get("parameters")
    default = bool(parameters.get("binary_data_output")) if isinstance(parameters, dict) else False
    asked = request.get("outputs")
    if asked is None:
        return [(name, default) for name in _OUTPUTS]
    wanted = []
    for output in asked if isinstance(asked, list) else [None]:
        # Compared in a list: what is named may be anything, hashable or not.
        if not isinstance(output, dict) or output.get("name") not in list(_OUTPUTS):
            raise GatewayError("invalid_request", f"outputs: expected some of {sorted(_OUTPUTS)}")
        own = output.get("parameters")
        is_binary = bool(own.get("binary_data", default)) if isinstance(own, dict) else default
        wanted.append((str(output["name"]), is_binary))
    return wanted


async def _respond(
    exchange: Exchange, head: dict[str, Any], wanted: list[tuple[str, bool]], answers: list[Answer]
) -> None:
    outputs: list[dict[str, Any]] = []
    tail = b""
    for name, is_binary in wanted:
        values = [getattr(answer.decision, name) for answer in answers]
        output: dict[str, Any] = {"name": name, "datatype": _OUTPUTS[name], "shape": [len(values)]}
        if is_binary:
            packed = b"".join(_packed(value) for value in values)
            output["parameters"] = {"binary_data_size": len(packed)}
            tail += packed
        else:
            output["data"] = values
        outputs.append(output)
    if not tail:
        await exchange.respond_json({**head, "outputs": outputs})
        return
    body = json.dumps({**head, "outputs": outputs}).encode()
    headers = [(b"content-type", b"application/octet-stream"), (_HEADER, str(len(body)).encode())]
    await exchange.respond(200, body + tail, headers)


def _packed(value: str | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", len(value.encode())) + value.encode()
    return struct.pack("<f", value)
