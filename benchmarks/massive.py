"""Int8 on massive activations: this package, the usual dynamic quantization, and NNCF, side by side.

    python -m benchmarks.massive CHECKPOINT [--nncf PYTHON] [--shape NAME ...]

Makes a checkpoint of every shape in tests/support/massive_shapes.py from CHECKPOINT, quantizes each in three
ways and compares p(cloud) with the float32 graph's on texts that calibrated nothing. PYTHON is an interpreter
with nncf, openvino and onnx; without it, that column is left out.
"""

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from benchmarks.figures import Figure, record, recorded
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file, save_file
from tests.support.massive_shapes import SHAPES, massive

from pointsman.artifact.manifest import Limits
from pointsman.bench.environment import capture_environment
from pointsman.convert.checkpoint import Checkpoint, read_checkpoint
from pointsman.convert.checkpoint_files import WEIGHTS
from pointsman.convert.emit import FloatProducts, emit
from pointsman.convert.fold import fold
from pointsman.convert.inputs import ProofTexts, proof_texts
from pointsman.convert.mobilebert import MobileBertConfig, mobilebert_from_weights
from pointsman.convert.options import SAFE_LIMIT, ExportOptions, Shape
from pointsman.convert.quantize import quantize
from pointsman.convert.torch_export import export_plain, load_model
from pointsman.evaluation.parity import Tokens, answers_alone
from pointsman.runtime.probability import cloud_probability
from pointsman.runtime.session import Session, SessionConfig

NNCF = """
import json, sys
import nncf, numpy as np, openvino as ov

folder = sys.argv[1]
texts = json.load(open(folder + "/tokens.json"))
model = ov.Core().read_model(folder + "/plain.onnx")


def feed(ids):
    return {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}


data_texts = texts["calibration"]
data = nncf.Dataset(data_texts, feed)
made = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(data_texts))
compiled = ov.Core().compile_model(made, "CPU")
print(json.dumps([compiled(feed(ids))[0][0].tolist() for ids in texts["proof"]]))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--nncf", help="a Python that has nncf, openvino and onnx")
    parser.add_argument("--shape", action="append", choices=["as it is", *SHAPES])
    args = parser.parse_args()
    environment = capture_environment()
    base = read_checkpoint(args.checkpoint)
    proof = proof_texts(base, Limits(128, 6400), ExportOptions())
    names = args.shape or ["as it is", *SHAPES]
    figures = _recorded_before(names)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = _changed(base, name, Path(folder) / "checkpoint")
            figures += _compare(name, checkpoint, proof, Path(folder), args.nncf)
        sys.stderr.write(f"{figures[-1].what}: {figures[-1].shown()}\n")
    command = f"python -m benchmarks.massive {args.checkpoint}{' --nncf PYTHON' if args.nncf else ''}"
    record("massive", command, figures, environment)
    return 0


def _recorded_before(names: Sequence[str]) -> list[Figure]:
    """What an earlier run recorded of other shapes."""
    return [one for one in recorded("massive") if one.what.partition(":")[0] not in names]


def _changed(base: Checkpoint, name: str, path: Path) -> Checkpoint:
    shutil.copytree(base.path, path)
    if name in SHAPES:
        made = massive(load_file(path / WEIGHTS), dict(base.config), SHAPES[name])
        save_file(made, path / WEIGHTS, metadata={"format": "pt"})
    return read_checkpoint(path)


def _compare(
    name: str, checkpoint: Checkpoint, proof: ProofTexts, folder: Path, nncf: str | None
) -> list[Figure]:
    config = MobileBertConfig.from_config(checkpoint.config)
    folded = fold(mobilebert_from_weights(config, checkpoint.weights()))
    cloud = checkpoint.labels.cloud_index
    wanted = _answers(emit(folded, FloatProducts()), proof.tokens, cloud)
    began = time.process_time()
    ours, report = quantize(
        folded, proof.calibration_tokens, cloud_index=cloud, weight_limit=SAFE_LIMIT, threads=1
    )
    seconds = time.process_time() - began
    words = f"alpha {report.alpha}{' centred' if report.centred else ''}, {report.gains} gains"
    words += f", float32 {', '.join(report.kept_float) or 'nothing'}, {seconds:.1f} s of CPU"
    rows = [
        Figure(f"{name}: this package", _told(_answers(ours, proof.tokens, cloud), wanted, words), aim=AIM)
    ]
    logging.disable(logging.WARNING)
    plain, dynamic = folder / "plain.onnx", folder / "dynamic.onnx"
    onnx.save(export_plain(load_model(checkpoint), 17, Shape()), plain)
    quantize_dynamic(plain, dynamic, weight_type=QuantType.QUInt8)
    found = _answers(onnx.load(dynamic), proof.tokens, cloud)
    rows.append(Figure(f"{name}: `quantize_dynamic`", _told(found, wanted)))
    if nncf:
        logits = _by_nncf(nncf, folder, proof)
        rows.append(Figure(f"{name}: NNCF", _told(cloud_probability(logits, cloud, None), wanted)))
    return rows


AIM = "mean <= 0.004, labels >= 99.5 %"


def _answers(model: onnx.ModelProto, tokens: Tokens, cloud: int) -> NDArray[np.float64]:
    session = Session(model.SerializeToString(), SessionConfig(threads=1))
    return cloud_probability(answers_alone(session, tokens), cloud, None)


def _told(found: NDArray[np.float64], wanted: NDArray[np.float64], words: str = "") -> str:
    agree = np.mean((found >= 0.5) == (wanted >= 0.5))
    told = f"mean {np.abs(found - wanted).mean():.5f}, labels {agree:.2%}"
    return f"{told} ({words})" if words else told


def _by_nncf(python: str, folder: Path, proof: ProofTexts) -> NDArray[Any]:
    tokens = {"calibration": proof.calibration_tokens, "proof": proof.tokens}
    (folder / "tokens.json").write_text(json.dumps(tokens), encoding="utf-8")
    done = subprocess.run([python, "-c", NNCF, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"NNCF failed: {done.stderr.strip().splitlines()[-1]}")
    return np.array(json.loads(done.stdout.strip().splitlines()[-1]), np.float32)


if __name__ == "__main__":
    sys.exit(main())
