"""The ORT-format files run by onnxruntime on this computer, against Python."""

import numpy as np
import onnxruntime
import pytest
from tests.targets.comparing import INT8_WITHIN
from tests.targets.test_model_servers import assert_as_python

from pointsman.runtime.router import Router


@pytest.mark.parametrize(
    ("name", "variant", "within"), [("router", "int8", INT8_WITHIN), ("router-fp32", "plain", 1e-3)]
)
def test_ort_files_answer_as_python(packaged, artifact, texts, name, variant, within, request):
    session = onnxruntime.InferenceSession(packaged("mobile") / f"{name}.ort")
    router = Router.open(artifact.path, variant=variant)
    logits = []
    for encoding in router.encode(texts):
        ids = np.array([encoding.ids])
        logits.append(session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0])
    expected = request.getfixturevalue(variant)
    what = f"{'fp32' if variant == 'plain' else variant} in ORT format, dynamic lengths"
    assert_as_python(what, artifact, np.array(logits), texts, expected, within=within)
