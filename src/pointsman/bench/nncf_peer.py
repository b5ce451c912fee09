"""The plain file in int8 by NNCF, OpenVINO's own quantizer, and how near its answers stay.

NNCF and OpenVINO are no part of this package: `nox -s peers` makes an environment that has them.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.artifact.layout import TOKENIZER
from pointsman.artifact.store import Artifact
from pointsman.datasets.reading import calibration_queries, project_queries
from pointsman.runtime.batching import pad
from pointsman.runtime.probability import cloud_probability
from pointsman.runtime.session import named_feed
from pointsman.runtime.tokenize import TextEncoder


def quantize_by_nncf(plain: Path, output: Path, artifact: Artifact) -> dict[str, Any]:
    """Write OpenVINO's files (`output` and its .bin); returns the recipe and the parity on other queries.

    Raises:
        ImportError: OpenVINO or NNCF is not installed.
    """
    nncf, openvino = import_module("nncf"), import_module("openvino")
    encoder = TextEncoder(artifact.read(TOKENIZER), artifact.manifest.limits, artifact.manifest.scripts)
    texts = [encoding.ids for encoding in encoder.encode_many(calibration_queries())]
    model = openvino.Core().read_model(plain)
    names = [item.get_any_name() for item in model.inputs]
    made = nncf.quantize(
        model,
        nncf.Dataset(texts, lambda ids: _feed(names, ids)),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(texts),
    )
    openvino.save_model(made, output)
    proof = [encoding.ids for encoding in encoder.encode_many(project_queries())]
    found, wanted = (_p_cloud(file, names, proof, artifact) for file in (output, plain))
    return {
        "recipe": f"nncf.quantize, TRANSFORMER, {len(texts)} calibration texts",
        "mean_p": float(np.abs(found - wanted).mean()),
        "max_p": float(np.abs(found - wanted).max()),
        "labels_agree": float(np.mean((found >= 0.5) == (wanted >= 0.5))),
        "texts": len(proof),
    }


def _feed(names: Sequence[str], ids: Sequence[int]) -> dict[str, NDArray[np.int64]]:
    return named_feed(names, *pad([ids], pad_id=0))


def _p_cloud(
    file: Path, names: Sequence[str], texts: Sequence[Sequence[int]], artifact: Artifact
) -> NDArray[np.float64]:
    openvino = import_module("openvino")
    run = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    logits = np.array([run(_feed(names, ids))[0][0] for ids in texts], np.float32)
    return cloud_probability(logits, artifact.manifest.labels.cloud_index, None)
