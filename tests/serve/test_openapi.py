"""What `/openapi.json` says of a body is what happens to it: nothing that it forbids is answered with 200."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.support.running import Running, settings_for

from pointsman.serve.operations.openapi import describe
from pointsman.serve.routes import PUBLIC

MESSAGE = {"role": "user", "content": "plan"}
TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["plan"]}
SAID: tuple[Any, ...] = (
    *("plan", ["plan"], [MESSAGE], [TENSOR], [1, 2], [[1, 2], [3]], ["plan", 7]),
    *(None, True, 5, "", [], {}, [None], [True], [5.5], [[]], [["plan"]], [[True]], [{}], ["plan", None]),
    *([{"role": 5, "content": "plan"}], [{"content": "plan"}], [MESSAGE, {"role": {}}], MESSAGE, TENSOR),
    *([{**TENSOR, "shape": ["1"]}], [{**TENSOR, "data": [5]}], [{**TENSOR, "datatype": "INT8"}]),
    *([{**TENSOR, "shape": [True]}], [{**TENSOR, "data": [["plan"]]}], [{**TENSOR, "name": 5}]),
    *([["plan"]], [["plan", "plan"]], {"query": "plan"}, {"inputs": [["plan"]]}, {"input": 5}),
)
"""What may stand, or must not, where a body holds its texts."""
FIELDS = ("messages", "prompt", "input", "inputs", "query", "queries", "data", "input_data")
OTHERS = {"model": ("auto", None, "local", 5, {}), "threshold": (0.5, None, 1.5, "1", True), "id": ("a", 5)}
DECISIONS = ("/v1/systemone", "/v1/decisions")
NEEDS_MORE = re.compile("/v1/responses/|/v1/conversations|embeddings|/v1/feedback|/admin/")
"""What the demo's upstreams do not answer, and what needs a captured file or an admin key."""
POSTS = [route.path for route in PUBLIC if route.method == "POST" and not NEEDS_MORE.search(route.path)]


def bodies() -> list[Any]:
    """Every field with everything in it; what stands beside it; the bare ones; and an empty one."""
    keyed = [{field: value} for field in FIELDS for value in SAID]
    beside = [
        {**dict.fromkeys(FIELDS, "plan"), "messages": [MESSAGE], **tensors, name: value}
        for tensors in ({}, {"inputs": [TENSOR]})
        for name, values in OTHERS.items()
        for value in values
    ]
    wrapped = [{name: {"query": "plan"}, "threshold": 5} for name in ("query", "data")]
    return [*keyed, *beside, *wrapped, *SAID, {}]


def questions() -> list[Any]:
    """States and inputs with a question that has an answer, with one that has none, and with none."""
    named = {"where": {"type": "choice", "criteria": {"local": None, "cloud": None}}}
    listed = [{"type": "choice", "choices": [{"value": "local"}, {"value": "cloud"}]}]
    asked = (named, listed, {"urgent": {"type": "noul"}}, {"where": {}}, {}, [], [{}], [5], None, "where")
    said = ("plan", [MESSAGE], {"request": "plan"}, "", {}, [], 5, None, [[True]])
    keyed = [
        {field: one, "questions": each} for field in ("state", "input") for one in said for each in asked
    ]
    return [*keyed, *said, {"state": "plan"}, {"input": "plan"}, {}]


@pytest.mark.parametrize("path", POSTS)
def test_what_the_document_forbids_is_refused(
    artifact: Path, start: Callable[..., Running], path: str
) -> None:
    document = describe(PUBLIC, needs_key=False)
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    allowed = Draft202012Validator(schema)
    gateway = start(settings_for(artifact, demo=True))
    address = path.format(deployment="auto", model="router", version="1")
    answered = 0
    for body in questions() if path in DECISIONS else bodies():
        status = gateway.http.post(address, json=body).status_code
        assert 400 <= status < 500 if not allowed.is_valid(body) else status in (200, 400), body
        answered += status == 200
    assert answered, "some body must be answered"
