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
_ROW = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 1}
_ROWS = {"oneOf": [_TEXT, {"type": "array", "items": {"oneOf": [_TEXT, _ROW]}, "minItems": 1}]}
_QUERY = {"query": _TEXTS, "threshold": {"type": ["number", "null"], "minimum": 0, "maximum": 1}}
_INPUTS = {"inputs": _ROWS}
_INPUT = {"input": _TEXTS}
_MODEL = {"model": {"type": ["string", "null"], "examples": ["auto", "local", "cloud", "router-0.7"]}}
_ANY_MODEL = {"model": {"type": ["string", "null"]}}
_MESSAGE = {"type": "object", "required": ["role"], "properties": {"role": _TEXT}}
_TOKENS = {"type": "array", "items": {"type": "integer"}}
_PROMPT = {"type": "array", "minItems": 1, "items": {"anyOf": [_TEXT, {"type": "integer"}, _TOKENS]}}
_TENSOR = {
    "type": "object",
    "required": ["shape", "datatype", "data"],
    "properties": {
        "name": {"description": "any"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
        "datatype": {"const": "BYTES"},
        "data": {
            "description": "texts, nested as the shape has them or flat",
            "type": "array",
            "items": {"anyOf": [_TEXT, {"type": "array"}]},
        },
    },
}


def _one_of(*shapes: dict[str, Any], bare: bool = False) -> dict[str, Any]:
    """An object with the first key of one of these shapes; with `bare` also a text or a list of texts."""
    keyed = [{"type": "object", "required": [next(iter(shape))], "properties": shape} for shape in shapes]
    return {"anyOf": [*keyed, *(_TEXTS["oneOf"] if bare else [])]}


def _conversation(name: str, *shapes: dict[str, Any]) -> dict[str, Any]:
    """The fields of a chat whose conversation has these shapes."""
    said = {"description": "read for the decision; the upstream judges it", "anyOf": list(shapes)}
    return {name: said, "stream": {"description": "passed on as it is; the upstream judges it"}}


_CHAT = _conversation("messages", {"type": "array", "items": _MESSAGE, "minItems": 1})
_COMPLETION = _conversation("prompt", _TEXT, _PROMPT)
_RESPONSE = _conversation("input", _TEXT, {"type": "array", "items": {"type": "object"}, "minItems": 1})
_CHATS = {
    "/v1/chat/completions": _one_of({**_CHAT, **_MODEL}),
    "/v1/completions": _one_of({**_COMPLETION, **_MODEL}),
    "/v1/responses": _one_of({**_RESPONSE, **_MODEL}),
    "/v1/messages": _one_of({**_CHAT, **_ANY_MODEL}),
    "/v1/messages/count_tokens": _one_of({**_CHAT, **_ANY_MODEL}),
    # Here the deployment is the model, whatever the body says.
    "/openai/deployments/{deployment}/chat/completions": _one_of(_CHAT),
    "/openai/deployments/{deployment}/completions": _one_of(_COMPLETION),
}
_INFER = _one_of({"inputs": {"type": "array", "items": _TENSOR, "minItems": 1, "maxItems": 1}})
_CLASSIFY = _one_of(_QUERY, _INPUTS, _INPUT, bare=True)
_WRAPPED = _one_of(_QUERY, _INPUTS, _INPUT)
_SCORE = _one_of(
    _QUERY,
    {"query": _WRAPPED},
    _INPUTS,
    _INPUT,
    *({name: {"anyOf": [_TEXTS, _WRAPPED]}} for name in ("input_data", "data", "queries")),
    bare=True,
)
_ASKED = {"type": "object", "required": ["type"], "properties": {"type": _TEXT}}
_SYSTEMONE = {
    "type": "object",
    "required": ["state", "questions"],
    "properties": {
        "state": {"type": ["string", "object", "array"]},
        "questions": {"type": "object", "minProperties": 1, "additionalProperties": _ASKED},
    },
}
_DECISIONS = {
    "type": "object",
    "required": ["input", "questions"],
    "properties": {
        "input": {"type": ["string", "object", "array"]},
        "questions": {"type": "array", "minItems": 1, "items": _ASKED},
    },
}
_VECTORS = _one_of({"input": {"anyOf": [_TEXT, _PROMPT]}})
_FEEDBACK = {
    "type": "object",
    "required": ["request_id"],
    "properties": {
        "request_id": {"type": "string", "minLength": 1, "maxLength": 64},
        "target": {"enum": ["local", "cloud"]},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "oneOf": [{"required": ["target"]}, {"required": ["score"]}],
    "additionalProperties": False,
}
_BODIES: dict[str, dict[str, Any]] = {
    "/": _one_of({"inputs": _TEXTS}),
    "/predict": _one_of(_QUERY, _INPUTS, _INPUT, {"queries": _TEXTS}, bare=True),
    "/classify": _CLASSIFY,
    "/v1/classify": _CLASSIFY,
    "/score": _SCORE,
    "/invocations": _SCORE,
    "/explain": _one_of({"query": _TEXT}),
    "/v1/systemone": _SYSTEMONE,
    "/v1/decisions": _DECISIONS,
    **_CHATS,
    "/v1/embeddings": _VECTORS,
    "/openai/deployments/{deployment}/embeddings": _VECTORS,
    "/v1/feedback": _FEEDBACK,
    "/admin/threshold": {
        "type": "object",
        "required": ["threshold"],
        "properties": {"threshold": {"type": "number", "minimum": 0, "maximum": 1}},
    },
    "/v1/responses/{response}/cancel": {"type": "object"},
    "/v1/conversations": {"type": "object"},
    "/v1/conversations/{conversation}": {"type": "object"},
    "/v1/conversations/{conversation}/items": {"type": "object"},
    "/v2/models/{model}/infer": _INFER,
    "/v2/models/{model}/versions/{version}/infer": _INFER,
}
"""What the body of each route may be; fields that are not named pass a chat untouched."""
_PASSED_ON = ("/v1/responses/", "/v1/conversations")
_PARAMETERS = {
    "deployment": {**_TEXT, "examples": ["auto", "local", "cloud"]},
    "model": {**_TEXT, "examples": ["router"]},
    "version": {**_TEXT, "examples": ["1"]},
    "name": {**_TEXT, "examples": ["app.js", "style.css", "icon.svg"]},
}


def describe(routes: Sequence[Route], *, needs_key: bool) -> dict[str, Any]:
    """The document for a table of routes, where users need a key or not."""
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route, needs_key)
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
    schema: dict[str, Any] = {"$ref": "#/components/schemas/Error"}
    statuses = sorted({str(kind.status) for kind in KINDS.values()})
    if route.template in _CHATS or route.template.startswith(_PASSED_ON) or "embeddings" in route.template:
        # What an upstream says of a client's mistake goes back as it came.
        schema = {"anyOf": [schema, {"type": "object"}]}
        statuses.append("4XX")
    error = {"content": {"application/json": {"schema": schema}}}
    operation: dict[str, Any] = {
        "summary": (route.handler.__doc__ or "").strip().split("\n")[0],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": _PARAMETERS.get(name, _TEXT)}
            for name in _PARAMETER.findall(route.template)
        ],
        "responses": {
            "200": {"description": "done"},
            **{status: {"description": "see the error's code", **error} for status in statuses},
        },
        "security": [] if route.access == "open" or not needs_key else [{"bearer": []}, {"api_key": []}],
    }
    if route.method == "POST":
        content = {"application/json": {"schema": _BODIES[route.template]}}
        operation["requestBody"] = {"required": not route.template.endswith("/cancel"), "content": content}
    elif route.template == "/predict":
        operation["parameters"].append({"name": "query", "in": "query", "required": True, "schema": _TEXT})
    return operation
