"""The ORT-format files run by onnxruntime on this computer, against Python."""

import re

import numpy as np
import onnxruntime
import pytest
from benchmarks.figures import Figure
from tests.targets.comparing import FIGURES, INT8_WITHIN, SHOWN, compare, decisions_of

from pointsman.runtime.router import Router

_TAKEN = re.compile(r"(\d+) partitions with a total of (\d+)/(\d+) nodes can be handled by the (.+) EP")


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


def test_fixed_files_answer_as_python(packaged, artifact, texts, plain):
    sessions = {
        int(path.stem.rpartition("-")[2]): onnxruntime.InferenceSession(path)
        for path in (packaged("mobile") / "fixed").glob("*.ort")
    }
    encodings, logits = Router.open(artifact.path, variant="plain").encode(texts), []
    for encoding in encodings:
        length = min(one for one in sessions if one >= len(encoding.ids))
        ids, mask = np.zeros((2, 1, length), np.int64)
        ids[0, : len(encoding.ids)], mask[0, : len(encoding.ids)] = encoding.ids, 1
        feed = {"input_ids": ids, "attention_mask": mask}
        logits.append(sessions[length].run(["logits"], feed)[0][0])
    found = decisions_of(artifact, np.array(logits), encodings)
    what = f"fp32 in ORT format, lengths {', '.join(map(str, sorted(sessions)))}"
    compare(what, texts, plain, found, 1e-3)


def test_sizes_and_what_the_checker_says(packaged):
    folder = packaged("mobile")
    FIGURES["mobile"] += [
        Figure(f"`{path.relative_to(folder)}`", path.stat().st_size / 1e6, "MB")
        for path in sorted(folder.rglob("*.ort"))
    ]
    for name in ("usability.txt", "fixed/usability.txt"):
        told = _TAKEN.findall((folder / name).read_text(encoding="utf-8"))
        # The checker looks at the dynamic file a second time, as if its shapes were fixed.
        assert len(told) == (6 if name == "usability.txt" else 3)
        for parts, taken, nodes, provider in told[:: len(told) // 3]:
            what = f"`{name}`: nodes that {provider} can take"
            FIGURES["mobile"].append(Figure(what, f"{taken} of {nodes}, partitions: {parts}"))
