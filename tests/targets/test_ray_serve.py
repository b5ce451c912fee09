"""A real Ray Serve on this machine, asked over HTTP."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.targets.comparing import compare

from pointsman.artifact.store import Artifact
from pointsman.deploy.batch.ray_pool import connect
from pointsman.deploy.ray_serve import app
from pointsman.errors import ArtifactNotFoundError, SettingsError
from pointsman.runtime.router import Router

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def address(artifact: Artifact) -> Iterator[str]:
    pytest.importorskip("ray.serve")
    ray = connect(None, 3, 10.0)
    from ray import serve

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(app({"artifact": str(artifact.path)}), name="pointsman", route_prefix="/predict")
    yield f"http://127.0.0.1:{port}/predict"
    serve.shutdown()
    ray.shutdown()


def ask(address: str, body: Any) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_answers_are_the_routers(address: str, artifact: Artifact, texts: list[str]) -> None:
    decisions = Router.open(artifact).route_many(texts)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: ask(address, {"query": text})[1], texts))
    compare("the default file in Ray Serve, over HTTP", texts, decisions, found, 1e-3)
    version = artifact.manifest.id[:12]
    assert found == [{**decision.to_dict(), "version": version} for decision in decisions]
    status, many = ask(address, {"query": texts[:32]})
    assert (status, many["predictions"]) == (200, found[:32])


@pytest.mark.parametrize(
    "body", [b"{", {}, {"query": 5}, {"query": []}, {"query": ["x"] * 33}, {"query": " "}]
)
def test_bad_input_is_400_and_the_next_request_is_answered(address: str, body: Any) -> None:
    status, answer = ask(address, body)
    assert status == 400 and answer["error"]["message"]
    assert ask(address, {"query": "hello"})[0] == 200


def test_a_wrong_argument_ends_before_anything_is_deployed() -> None:
    pytest.importorskip("ray.serve")
    with pytest.raises(SettingsError, match="artefact"):
        app({"artefact": "x"})
    with pytest.raises(ArtifactNotFoundError):
        app({"artifact": "/nowhere"})
