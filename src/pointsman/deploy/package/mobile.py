"""ORT format for phones: converted by onnxruntime's own tools, with their lists of operators and reports.

The int8 and the plain file take lengths as they come, for the CPU provider. NNAPI and CoreML want fixed
shapes: the plain file is there once more at a few lengths, nodes that only compute shapes made constants.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from pointsman.artifact.layout import TOKENIZER
from pointsman.artifact.store import Artifact
from pointsman.deploy.package.target import Target
from pointsman.errors import ConversionError

SHORT = 32
"""Tokens of the shorter fixed length; the other one is the artifact's own limit."""

_INT8, _PLAIN, _FIXED = "router.onnx", "router-fp32.onnx", "fixed"
_OPERATORS, _REPORT = "required_operators.config", "usability.txt"
_SECONDS = 600


def convert(artifact: Artifact, stage: Path) -> None:
    """Replace the ONNX files in the folder by ORT files, and write the checker's reports and the sizes.

    Raises:
        ConversionError: a tool failed.
    """
    most = artifact.manifest.limits.max_tokens
    lengths = (SHORT, most) if most > SHORT else (most,)
    with tempfile.TemporaryDirectory(dir=stage) as folder:
        fixed = Path(folder)
        for length in lengths:
            _fix_shape(stage / _PLAIN, fixed / f"router-fp32-{length}.onnx", length)
        _report(stage / _PLAIN, stage / _REPORT)
        _report(fixed / f"router-fp32-{lengths[0]}.onnx", stage / _FIXED / _REPORT)
        # Any processor: optimizations for one kind of processor would not run on another. What NNAPI and
        # CoreML may take is optimized where it runs, since they take what they know before that.
        _to_ort(fixed, stage / _FIXED, "Runtime")
    _to_ort(stage, stage, "Fixed")
    for name in (_INT8, _PLAIN):
        (stage / name).unlink()
    _tell_sizes(stage)


def _fix_shape(source: Path, destination: Path, length: int) -> None:
    """Write the graph for one text of `length` tokens; what follows from its shapes is computed here."""
    import onnx
    import onnxruntime
    from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed

    model = onnx.load(source)
    batch, sequence = (axis.dim_param for axis in model.graph.input[0].type.tensor_type.shape.dim)
    make_dim_param_fixed(model.graph, batch, 1)
    make_dim_param_fixed(model.graph, sequence, length)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Standard operators stay standard: the basic level folds constants and fuses nothing of a provider's own.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(destination)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _report(model: Path, destination: Path) -> None:
    """What onnxruntime's checker says of a model, without the lines that name this machine's folders."""
    said = _tool("check_onnx_model_mobile_usability", model)
    lines = [line for line in said.splitlines() if str(model.parent) not in line]
    destination.parent.mkdir(exist_ok=True)
    destination.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _to_ort(source: Path, destination: Path, style: str) -> None:
    """Convert every ONNX file of a folder, and list the operators that all of them need."""
    _tool(
        "convert_onnx_models_to_ort", source, "--output_dir", destination,
        "--optimization_style", style, "--target_platform", "arm",
    )  # fmt: skip
    for path in destination.glob("*.with_runtime_opt.*"):
        path.rename(path.with_name(path.name.replace(".with_runtime_opt", "")))
    config = destination / _OPERATORS
    listed = [line for line in config.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    config.write_text("\n".join(listed) + "\n", encoding="utf-8")


def _tell_sizes(stage: Path) -> None:
    """Append the size of each model to the folder's page."""
    rows = ["", "| file | MB |", "| --- | --: |"]
    for path in sorted(stage.rglob("*.ort")):
        rows.append(f"| `{path.relative_to(stage).as_posix()}` | {path.stat().st_size / 1e6:.1f} |")
    page = stage / "README.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n".join(rows) + "\n", encoding="utf-8")


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
        purpose="ORT-format files, operator lists and usability reports for ONNX Runtime Mobile",
        needs="onnxruntime-android or onnxruntime-objc, a WordPiece tokenizer; onnx where it is packaged",
        tested="1,000 texts by the .ort files in onnxruntime on a computer against Python; no phone was used",
        variants={_INT8: ("int8",), _PLAIN: ("plain",)},
        files={"tokenizer.json": TOKENIZER},
        step=convert,
    ),
)
