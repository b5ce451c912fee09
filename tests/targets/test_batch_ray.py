"""With a real Ray on this machine; where Ray is not installed there is nothing to test."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.tiny_artifact import build_tiny_artifact
from tests.targets.comparing import INT8_WITHIN, compare, label_of

from pointsman.artifact.store import Artifact
from pointsman.decision import Decision
from pointsman.deploy.batch import ray_pool
from pointsman.deploy.batch.worker import RouterSpec, answer_texts
from pointsman.errors import InputError, PointsmanError
from pointsman.runtime.router import Router

pytestmark = pytest.mark.filterwarnings("ignore")

JOBS = [(index, [f"hello {index}", f"analyze the plan {index}"]) for index in range(40)]


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Router:
    return Router.open(build_tiny_artifact(tmp_path_factory.mktemp("router") / "tiny"))


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    pytest.importorskip("ray")
    module = ray_pool.connect(None, 2, 10.0)
    yield module
    module.shutdown()


def expected(router: Router) -> list[tuple[int, Any]]:
    return [(key, answer_texts(router, texts)) for key, texts in JOBS]


def test_the_answers_are_the_local_ones(ray: Any, router: Router) -> None:
    spec = RouterSpec.of(router, None)
    assert list(ray_pool.route_ray(ray, JOBS, spec, 2, 1)) == expected(router)


def test_a_thousand_texts_are_decided_as_in_python(
    ray: Any, artifact: Artifact, texts: list[str], int8: list[Decision]
) -> None:
    spec = RouterSpec.of(Router.open(artifact.path, variant="int8"), None)
    jobs = [(start, texts[start : start + 100]) for start in range(0, len(texts), 100)]
    answers = [answer for _, some in ray_pool.route_ray(ray, jobs, spec, 2, 1) for answer in some]
    found = [
        {"label": label_of(p_cloud), "target": target, "p_cloud": p_cloud}
        for target, _, p_cloud, _, _ in answers
    ]
    compare("int8 in Ray's actors, chunks of 100", texts, int8, found, INT8_WITHIN)


def test_the_files_are_the_same_bytes(router: Router, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    rows = [{"id": key, "query": text} for key, texts in JOBS for text in texts] + [{"id": 99}]
    source = tmp_path / "q.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for engine in ("local", "ray"):
        command = [sys.executable, "-m", "pointsman", "batch", str(source), str(tmp_path / f"{engine}.jsonl")]
        command += [
            "--artifact",
            str(router.artifact.path),
            "--engine",
            engine,
            "--chunk-rows",
            "7",
            "--quiet",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    for suffix in ("jsonl", "jsonl.bad.jsonl"):
        found = [(tmp_path / f"{engine}.{suffix}").read_bytes() for engine in ("local", "ray")]
        assert found[0] == found[1] != b""


def test_an_actor_killed_in_the_middle_loses_and_doubles_nothing(
    ray: Any, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = []
    usual = ray_pool._Pool

    def kept(*words: Any) -> Any:
        pools.append(usual(*words))
        return pools[-1]

    monkeypatch.setattr(ray_pool, "_Pool", kept)
    found = []
    for index, answer in enumerate(ray_pool.route_ray(ray, JOBS, RouterSpec.of(router, None), 2, 1)):
        found.append(answer)
        if index in (5, 20):
            actor = pools[0]._actors[index % 2]
            os.kill(ray.get(actor.process.remote()), signal.SIGKILL)
    assert found == expected(router)


def test_a_chunk_that_kills_every_actor_is_an_error(
    ray: Any, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deadly(ray_pool._Actor):
        def answer(self, texts: list[str]) -> Any:
            os._exit(1)

    monkeypatch.setattr(ray_pool, "_Actor", Deadly)
    with pytest.raises(PointsmanError, match="died 4 times"):
        list(ray_pool.route_ray(ray, JOBS[:1], RouterSpec.of(router, None), 1, 1))


def test_an_address_that_does_not_answer_is_said(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(InputError, match="did not answer within 1 s"):
        ray_pool.connect(f"127.0.0.1:{port}", 1, 1.0)
    with pytest.raises(InputError, match="expected HOST:PORT"):
        ray_pool.connect("nowhere", 1, 1.0)


@pytest.mark.parametrize("kind", ["", "ray://"])
def test_a_silent_address_is_said_within_the_timeout(kind: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(InputError, match=r"did not answer within 0\.5 s"):
            ray_pool.connect(f"{kind}127.0.0.1:{listener.getsockname()[1]}", 1, 0.5)


def test_something_else_that_answers_is_no_ray() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=_answer_as_http, args=(listener,))
        thread.start()
        with pytest.raises(InputError, match="is no Ray"):
            ray_pool.connect(f"127.0.0.1:{listener.getsockname()[1]}", 1, 5.0)
        thread.join()


def _answer_as_http(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_cluster_that_is_up_is_reached(ray: Any) -> None:
    ray_pool._answers(ray.get_runtime_context().gcs_address, 10.0)
