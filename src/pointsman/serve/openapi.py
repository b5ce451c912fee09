"""The routes as an OpenAPI document, made from the table itself."""

import re
from collections.abc import Sequence
from typing import Any

from pointsman import __version__
from pointsman.serve.dispatch import Route
from pointsman.serve.failures import KINDS

_PARAMETER = re.compile(r"\{(\w+)\}")
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code", "request_id"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": "string", "enum": sorted(KINDS)},
                "request_id": {"type": "string"},
            },
        }
    },
}

_TEXT = {"type": "string"}
_TEXTS = {"oneOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}
_QUERY = {"query": _TEXTS, "threshold": {"type": "number", "minimum": 0, "maximum": 1}}
_INPUTS = {"inputs": _TEXTS}
_INPUT = {"input": _TEXTS}
_MODEL = {"model": {"type": ["string", "null"], "examples": ["auto", "local", "cloud", "router-0.7"]}}
_MESSAGE = {"type": "object", "required": ["role"], "properties": {"role": _TEXT}}
_STREAM = {"stream": {"description": "passed on as it is; the upstream judges it"}}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": _TEXT,
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
        "datatype": {"const": "BYTES"},
        "data": {"type": "array", "items": _TEXT},
    },
}


def _one_of(*shapes: dict[str, Any], bare: bool = False) -> dict[str, Any]:
    """An object with the first key of one of these shapes; with `bare` also a text or a list of texts."""
    keyed = [{"type": "object", "required": [next(iter(shape))], "properties": shape} for shape in shapes]
    return {"anyOf": [*keyed, *(_TEXTS["oneOf"] if bare else [])]}


_CHAT = _one_of({"messages": {"type": "array", "items": _MESSAGE}, **_MODEL, **_STREAM})
_COMPLETION = _one_of({"prompt": _TEXTS, **_MODEL, **_STREAM})
_INFER = _one_of({"inputs": {"type": "array", "items": _TENSOR, "minItems": 1, "maxItems": 1}, "id": _TEXT})
_BODIES = {
    "/": _one_of(_INPUTS),
    "/predict": _one_of(_QUERY, _INPUTS, _INPUT, bare=True),
    "/classify": _one_of(_INPUT, _INPUTS, _QUERY, bare=True),
    "/v1/classify": _one_of(_INPUT, _INPUTS, _QUERY, bare=True),
    "/score": _one_of(_QUERY, _INPUTS, _INPUT, {"input_data": _TEXTS}, {"data": _TEXTS}, bare=True),
    "/invocations": _one_of(_QUERY, _INPUTS, _INPUT, {"input_data": _TEXTS}, {"data": _TEXTS}, bare=True),
    "/explain": _one_of({"query": _TEXT}),
    "/v1/chat/completions": _CHAT,
    "/openai/deployments/{deployment}/chat/completions": _CHAT,
    "/v1/completions": _COMPLETION,
    "/openai/deployments/{deployment}/completions": _COMPLETION,
    "/v1/responses": _one_of({"input": _TEXTS, **_MODEL, **_STREAM}),
    "/v2/models/{model}/infer": _INFER,
    "/v2/models/{model}/versions/{version}/infer": _INFER,
}
"""What the body of each route may be; fields that are not named pass a chat untouched."""


def describe(routes: Sequence[Route], *, needs_key: bool) -> dict[str, Any]:
    """The document for a table of routes, where users need a key or not."""
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, needs_key)
    return {
        "openapi": "3.1.0",
        "info": {"title": "pointsman", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "api_key": {"type": "apiKey", "in": "header", "name": "api-key"},
            },
        },
    }


def _operation(route: Route, needs_key: bool) -> dict[str, Any]:
    error = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    statuses = sorted({str(kind.status) for kind in KINDS.values()})
    operation: dict[str, Any] = {
        "summary": (route.handler.__doc__ or "").strip().split("\n")[0],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _PARAMETER.findall(route.path)
        ],
        "responses": {
            "200": {"description": "done"},
            **{status: {"description": "see the error's code", **error} for status in statuses},
        },
        "security": [] if route.access == "open" or not needs_key else [{"bearer": []}, {"api_key": []}],
    }
    if route.method == "POST":
        content = {"application/json": {"schema": _BODIES[route.path]}}
        operation["requestBody"] = {"required": True, "content": content}
    elif route.path == "/predict":
        operation["parameters"].append({"name": "query", "in": "query", "required": True, "schema": _TEXT})
    return operation
