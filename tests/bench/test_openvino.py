"""OpenVINO and NNCF, where they are installed: `nox -s peers` makes .peers/openvino."""

from pathlib import Path

import numpy as np
import pytest
from tests.convert.products import toy_artifact

from pointsman.artifact.layout import PLAIN
from pointsman.bench.backends import OPENVINO, make_plan
from pointsman.bench.results import Kind, Scenario
from pointsman.bench.worker_onnx import open_stock

pytest.importorskip("nncf")


def test_openvino_and_nncf_are_rows_with_parity_and_answer_as_the_plain_file(tmp_path: Path) -> None:
    from pointsman.bench.worker_openvino import open_openvino

    artifact = toy_artifact(tmp_path / "toy")
    plan = make_plan(artifact, None, [Scenario(Kind.LATENCY, 1, 1, (16,))], tmp_path)
    workers = [worker for worker in plan.workers if worker.module == OPENVINO]
    assert [worker.backend for worker in workers] == ["openvino", "openvino_nncf", "openvino_nncf_rate"]
    facts = plan.facts["openvino_nncf"]
    assert 0 <= facts["mean_p"] <= facts["max_p"] < 0.5 <= facts["labels_agree"] <= 1
    assert {one.name: one.file_bytes > 0 for one in plan.backends if one.name.startswith("openvino")} == (
        dict.fromkeys(["openvino", "openvino_nncf", "openvino_nncf_rate"], True)
    )
    ids = np.arange(4, 10, dtype=np.int64).reshape(1, 6)
    feed = (ids, np.ones_like(ids))
    stock = open_stock({"kind": "onnx", "model": str(artifact.path / PLAIN), "threads": 1})
    for worker in workers:
        subject = open_openvino({**worker.settings, "threads": 1})
        np.testing.assert_allclose(np.asarray(subject.run(*feed)), np.asarray(stock.run(*feed)), atol=0.05)
        subject.many([feed] * 5)
