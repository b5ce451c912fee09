"""What `import pointsman` gives: every public name, when it is first read."""

import subprocess
import sys

import pytest

import pointsman


def test_every_public_name_is_there_and_in_the_listing():
    assert {*pointsman.__all__} <= {*dir(pointsman)}
    assert all(getattr(pointsman, name) is not None for name in pointsman.__all__)
    assert {*pointsman._HOMES, "__version__"} == {*pointsman.__all__}
    assert pointsman.errors.PointsmanError is pointsman.PointsmanError
    with pytest.raises(AttributeError, match="no attribute 'Rooter'"):
        _ = pointsman.Rooter


def test_nothing_heavy_is_imported_before_a_command_runs_and_takes_an_interrupt():
    code = (
        "import sys, pointsman.cli.__main__; "
        "print(sorted({'numpy', 'onnxruntime', 'torch', 'httpx', 'tokenizers'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
