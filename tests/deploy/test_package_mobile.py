"""The mobile target: the .ort files answer as the ONNX files that they were made of."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.deploy.full_artifact import build_full_artifact
from tests.deploy.package_files import check_files

from pointsman.artifact.store import Artifact
from pointsman.deploy.package import mobile
from pointsman.deploy.package.build import build_package
from pointsman.deploy.package.catalogue import target_named


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return build_full_artifact(tmp_path_factory.mktemp("full") / "full")


@pytest.fixture(scope="module")
def made(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("mobile") / "made"
    check_files(output, build_package(target_named("mobile"), artifact, output))
    assert list(output.parent.iterdir()) == [output]
    return output


@pytest.mark.torch
def test_ort_files_answer_as_their_onnx_files(artifact: Artifact, made: Path) -> None:
    assert not list(made.rglob("*.onnx")) and not list(made.glob("tmp*"))
    feed = {"input_ids": np.array([[2, 5, 8, 3]], np.int64)}
    for name, variant in (("router.ort", "int8"), ("router-fp32.ort", "plain")):
        source = onnxruntime.InferenceSession(artifact.path / artifact.manifest.variants[variant])
        session = onnxruntime.InferenceSession(made / name)
        np.testing.assert_array_equal(session.run(None, feed)[0], source.run(None, feed)[0])


@pytest.mark.torch
def test_fixed_files_take_one_padded_text(artifact: Artifact, made: Path) -> None:
    most = artifact.manifest.limits.max_tokens
    files = {path.name: path for path in (made / "fixed").glob("*.ort")}
    assert set(files) == {f"router-fp32-{length}.ort" for length in {min(mobile.SHORT, most), most}}
    source = onnxruntime.InferenceSession(artifact.path / artifact.manifest.variants["plain"])
    ids = np.array([[2, 5, 8, 3]], np.int64)
    for path in files.values():
        session = onnxruntime.InferenceSession(path)
        [given] = session.get_inputs()
        assert given.shape == [1, int(path.stem.rpartition("-")[2])]
        padded = np.zeros(given.shape, np.int64)
        padded[:, : ids.shape[1]] = ids
        expected = source.run(None, {"input_ids": padded})[0]
        np.testing.assert_allclose(session.run(None, {"input_ids": padded})[0], expected, rtol=1e-6)


@pytest.mark.torch
def test_lists_reports_and_sizes_name_no_folder_of_this_machine(made: Path) -> None:
    for folder in (made, made / "fixed"):
        operators = (folder / "required_operators.config").read_text()
        assert "Gather" in operators
        report = (folder / "usability.txt").read_text()
        assert "nodes can be handled by the NNAPI EP" in report and "CPU EP" in report
        assert str(made) not in operators + report and "/tmp" not in operators + report
    page = (made / "README.md").read_text()
    for path in made.rglob("*.ort"):
        assert f"| `{path.relative_to(made).as_posix()}` | {path.stat().st_size / 1e6:.1f} |" in page
