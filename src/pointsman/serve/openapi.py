"""The routes as an OpenAPI document, made from the table itself."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pointsman import __version__
from pointsman.serve.failures import KINDS
from pointsman.serve.http import Exchange

if TYPE_CHECKING:
    from pointsman.serve.dispatch import Route
    from pointsman.serve.gateway import Gateway

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


async def document(gateway: "Gateway", exchange: Exchange) -> None:
    """`/openapi.json`."""
    from pointsman.serve.routes import PUBLIC

    await exchange.respond_json(describe(PUBLIC))


def describe(routes: "Sequence[Route]") -> dict[str, Any]:
    """The document for a table of routes."""
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
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


def _operation(route: "Route") -> dict[str, Any]:
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
        "security": [] if route.access == "open" else [{"bearer": []}, {"api_key": []}],
    }
    if route.method == "POST":
        schema = {"type": ["object", "array", "string"] if route.takes_text else "object"}
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return operation
