"""The ORT-format files run by onnxruntime on this computer, against Python."""

import numpy as np
import onnxruntime
import pytest
from tests.targets.comparing import INT8_WITHIN, SHOWN, compare, decisions_of

from pointsman.runtime.router import Router


@pytest.mark.parametrize(
    ("name", "variant", "within"), [("router", "int8", INT8_WITHIN), ("router-fp32", "plain", 1e-3)]
)
def test_ort_files_answer_as_python(packaged, artifact, texts, name, variant, within):
    session = onnxruntime.InferenceSession(packaged("mobile") / f"{name}.ort")
    router = Router.open(artifact.path, variant=variant)
    encodings, logits = router.encode(texts), []
    for encoding in encodings:
        ids = np.array([encoding.ids])
        logits.append(session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0])
    found = decisions_of(artifact, np.array(logits), encodings)
    what = f"{SHOWN[variant]} in ORT format, lengths as they come"
    compare(what, texts, router.route_many(texts), found, within)
