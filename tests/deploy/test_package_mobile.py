"""The mobile target: the .ort files answer as the ONNX files that they were made of."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.deploy.full_artifact import build_full_artifact

from pointsman.deploy.package.build import build_package
from pointsman.deploy.package.catalogue import target_named


@pytest.mark.torch
def test_ort_files_answer_as_their_onnx_files(tmp_path: Path) -> None:
    artifact = build_full_artifact(tmp_path / "full")
    names = build_package(target_named("mobile"), artifact, tmp_path / "made")
    assert {"router.ort", "router-fp32.ort", "tokenizer.json", "README.md"} <= set(names)
    assert not [name for name in names if name.endswith(".onnx")]
    feed = {"input_ids": np.array([[2, 5, 8, 3]], np.int64)}
    for name, variant in (("router.ort", "int8"), ("router-fp32.ort", "plain")):
        source = onnxruntime.InferenceSession(artifact.path / artifact.manifest.variants[variant])
        made = onnxruntime.InferenceSession(tmp_path / "made" / name)
        np.testing.assert_array_equal(made.run(None, feed)[0], source.run(None, feed)[0])
    operators = (tmp_path / "made" / "required_operators.config").read_text()
    assert "Gather" in operators and str(tmp_path) not in operators
    assert "CPU EP" in (tmp_path / "made" / "usability.txt").read_text()
