"""ONNX Runtime's OpenVINO provider, in an environment of its own: which nodes it takes, parity, and speed.

onnxruntime-openvino brings OpenVINO's libraries. The newer plugin, onnxruntime-ep-openvino, offers Intel's
processors only, so it is no provider on others.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from benchmarks.figures import Figure
from tests.targets.comparing import FIGURES, INT8_WITHIN, ROOT, SHOWN, compare, decisions_of, peer, runtime

from pointsman.deploy.package.model_servers import LENGTHS
from pointsman.runtime.router import Router

TIMED = 200

_RUN = """
import json, sys, time
from collections import Counter
import numpy as np, onnxruntime
onnxruntime.set_default_logger_severity(3)
given, model, output, lengths, timed = np.load(sys.argv[1]), *sys.argv[2:4], *map(json.loads, sys.argv[4:])
OPENVINO = ("OpenVINOExecutionProvider", {"device_type": "CPU", "num_of_threads": "1", "precision": "FP32"})
CPU = "CPUExecutionProvider"

def session(provider, length=None, profile=False):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling, options.profile_file_prefix = profile, output
    if length:
        for name, value in (("batch", 1), ("sequence", length)):
            options.add_free_dimension_override_by_name(name, value)
    made = onnxruntime.InferenceSession(model, options, providers=[provider])
    assert not length or made.get_inputs()[0].shape == [1, length]
    return made

def feed(index, length):
    mask = (np.arange(length) < given["lengths"][index]).astype(np.int64)[None]
    return {"input_ids": given["ids"][index : index + 1, :length], "attention_mask": mask}

class Padded:
    # A session a length; a text runs in the shortest that it fits in. Without lengths, as it comes.
    def __init__(self, provider, lengths):
        self.sessions = {length: session(provider, length) for length in lengths} or session(provider)

    def __call__(self, index):
        length = int(given["lengths"][index])
        if not isinstance(self.sessions, dict):
            return self.sessions.run(["logits"], feed(index, length))[0]
        bucket = min(one for one in self.sessions if one >= length)
        return self.sessions[bucket].run(["logits"], feed(index, bucket))[0]

# One call, profiled: which provider ran how many nodes. OpenVINO runs a piece of the graph as one node.
watched = session(OPENVINO, profile=True)
assert watched.get_providers()[0] == OPENVINO[0], watched.get_providers()
watched.run(None, feed(0, int(given["lengths"][0])))
events = [event.get("args", {}) for event in json.load(open(watched.end_profiling()))]
ran = Counter(event["provider"] for event in events if "provider" in event)
run = {"openvino": Padded(OPENVINO, lengths), "cpu": Padded(CPU, lengths)}
np.save(output, np.concatenate([run["openvino"](index) for index in range(len(given["lengths"]))]))
least = {name: np.full(timed, np.inf) for name in run}
for _ in range(3):
    for index in range(timed):
        for name, one in run.items():
            start = time.perf_counter()
            one(index)
            least[name][index] = min(least[name][index], time.perf_counter() - start)
milliseconds = {name: 1000 * times.mean() for name, times in least.items()}
print(json.dumps({"ran": ran, "milliseconds": milliseconds}))
"""


@pytest.mark.parametrize(
    ("variant", "lengths", "within", "ran"),
    [
        ("plain", (), 1e-3, (1, 0)),
        ("plain", (*LENGTHS, 128), 1e-3, (1, 0)),
        ("folded", (), 1e-3, (2, 1)),
        ("int8", (), INT8_WITHIN, None),
    ],
)
def test_the_provider_answers_as_python(artifact, texts, tmp_path, variant, lengths, within, ran):
    router = Router.open(artifact.path, variant=variant)
    encodings = router.encode(texts)
    ids = np.zeros((len(texts), artifact.manifest.limits.max_tokens), np.int64)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding.ids)] = encoding.ids
    np.savez(tmp_path / "in.npz", ids=ids, lengths=[len(encoding.ids) for encoding in encodings])
    model = artifact.path / artifact.manifest.variants[variant]
    words = (tmp_path / "in.npz", model, tmp_path / "out.npy", list(lengths), TIMED)
    said = json.loads(peer("venv-ovep", _RUN, *words).splitlines()[-1])
    taken, left = (said["ran"].get(name, 0) for name in ("OpenVINOExecutionProvider", "CPUExecutionProvider"))
    name = f"{SHOWN[variant]}, lengths {', '.join(map(str, lengths)) or 'as they come'}"
    if not lengths:
        pieces = f"{taken} and {left}"
        FIGURES["openvino"].append(
            Figure(f"{SHOWN[variant]}: pieces that OpenVINO runs, nodes that ONNX Runtime keeps", pieces)
        )
    FIGURES["openvino"] += [
        Figure(f"{name}: OpenVINO provider, one thread", said["milliseconds"]["openvino"], "ms a text"),
        Figure(f"{name}: CPU provider, one thread", said["milliseconds"]["cpu"], "ms a text"),
    ]
    found = decisions_of(artifact, np.load(tmp_path / "out.npy"), encodings)
    what = f"{SHOWN[variant]} by ONNX Runtime's OpenVINO provider, lengths {name.partition('lengths ')[2]}"
    compare(what, texts, router.route_many(texts), found, within)
    assert ran in (None, (taken, left))


_ROUTER = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from pointsman.runtime.router import Router
from pointsman.runtime.session import SessionConfig
options = {"openvino": {"device_type": "CPU", "precision": "FP32"}}
session = SessionConfig(threads=1, providers=("openvino",), provider_options=options)
router = Router.open(Path(sys.argv[1]), variant=sys.argv[2], session=session)
decisions = router.route_many(json.load(open(sys.argv[3])))
print(json.dumps([decision.to_dict() for decision in decisions]))
"""


def test_a_router_runs_on_the_provider(artifact, texts, plain, tmp_path):
    (tmp_path / "texts.json").write_text(json.dumps(texts[:100]))
    said = peer("venv-ovep", _ROUTER, artifact.path, "plain", tmp_path / "texts.json", ROOT / "src")
    found = json.loads(said.splitlines()[-1])
    compare("fp32 by `Router` on the OpenVINO provider", texts[:100], plain[:100], found, 1e-3)


_BENCH = """
import json, sys
import numpy as np
from pointsman.bench.worker_onnx import open_stock
given = np.load(sys.argv[2])
ids, mask = given["ids"], given["mask"]
kinds = ("onnx", "openvino")
logits = [open_stock({"kind": kind, "model": sys.argv[1], "threads": 1}).run(ids, mask) for kind in kinds]
print(json.dumps(float(np.abs(logits[0] - logits[1]).max())))
"""


def test_the_benchmarks_openvino_is_openvino_and_answers_as_onnx_runtime(artifact, texts, tmp_path):
    [site] = runtime("venv-ov", "lib").glob("python*/site-packages")
    encodings = Router.open(artifact.path).encode(texts[:32])
    ids = np.zeros((32, 128), np.int64)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding.ids)] = encoding.ids
    np.savez(tmp_path / "in.npz", ids=ids, mask=(ids != 0).astype(np.int64))
    model = artifact.path / artifact.manifest.variants["plain"]
    done = subprocess.run(
        [sys.executable, "-c", _BENCH, model, tmp_path / "in.npz"],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{site}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout) < 1e-3
