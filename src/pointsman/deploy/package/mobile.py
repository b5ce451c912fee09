"""ORT format for phones: converted by onnxruntime's own tool, with its list of operators and its report."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from pointsman.artifact.layout import TOKENIZER
from pointsman.artifact.store import Artifact
from pointsman.deploy.package.target import Target
from pointsman.errors import ConversionError, MissingExtraError

_FILES = ("router", "router-fp32")
_SECONDS = 600


def convert(artifact: Artifact, stage: Path) -> None:
    """Replace the ONNX files in the folder by ORT files, and write the checker's report.

    Raises:
        MissingExtraError: the checker needs onnx.
        ConversionError: the tool failed.
    """
    if find_spec("onnx") is None:
        raise MissingExtraError("needs onnx. Install it with: pip install 'pointsman[export]'")
    report = _tool("check_onnx_model_mobile_usability", stage / "router-fp32.onnx")
    # The tool names its temporary place in some lines; only the findings are kept.
    lines = [line for line in report.splitlines() if str(stage) not in line]
    (stage / "usability.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    # Any processor: optimizations for one kind of processor would not run on another.
    _tool("convert_onnx_models_to_ort", stage, "--optimization_style", "Fixed", "--target_platform", "arm")
    config = stage / "required_operators.config"
    listed = [line for line in config.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    config.write_text("\n".join(listed) + "\n", encoding="utf-8")
    for name in _FILES:
        (stage / f"{name}.onnx").unlink()


def _tool(module: str, *arguments: Path | str) -> str:
    command = [sys.executable, "-m", f"onnxruntime.tools.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise ConversionError(f"onnxruntime's {module} failed: {last}")
    return done.stdout + done.stderr


TARGETS = (
    Target(
        name="mobile",
        purpose="ORT-format files, operator list and usability report for ONNX Runtime Mobile",
        needs="onnxruntime-android or onnxruntime-objc, a WordPiece tokenizer; onnx where it is packaged",
        tested="the .ort files run by onnxruntime on a computer against the ONNX files; no phone was used",
        variants={"router.onnx": ("int8",), "router-fp32.onnx": ("plain",)},
        files={"tokenizer.json": TOKENIZER},
        step=convert,
    ),
)
