"""The one file from text to decision, in an environment that has onnxruntime-extensions, against Python.

The token ids are compared on the 1,000 texts and on generated hostile Unicode; `POINTSMAN_QUERIES`, a folder
of `*.jsonl` or `*.jsonl.gz` with a `query` a line, adds 10,000 of each file.
"""

import gzip
import json
import os
import random
import subprocess
from pathlib import Path

from benchmarks.figures import Figure
from tests.targets.comparing import FIGURES, INT8_WITHIN, compare, peer, runtime

from pointsman.runtime.router import Router

HOSTILE, EACH = 3000, 10_000

_RUN = """
import json, sys, time
import numpy as np, onnx, onnxruntime
from onnxruntime_extensions import get_library_path
folder, source, ids = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.register_custom_ops_library(get_library_path())
options.intra_op_num_threads = 1
model = onnx.load(folder + "/router.onnx")
if ids == "ids":
    del model.graph.output[:]
    for name in ("model.input_ids", "tokens"):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None))
session = onnxruntime.InferenceSession(model.SerializeToString(), options)
texts = json.load(open(source))
found = []
start = time.perf_counter()
for index in range(0, len(texts), 64 if ids == "ids" else 1):
    batch = np.array(texts[index : index + (64 if ids == "ids" else 1)], dtype=object)
    answers = session.run(None, {"text": batch})
    if ids == "ids":
        found += [row[:count].tolist() for row, count in zip(*answers)]
    else:
        names = [output.name for output in session.get_outputs()]
        found += [dict(zip(names, row)) for row in zip(*(answer.tolist() for answer in answers))]
took = 1000 * (time.perf_counter() - start) / len(texts)
json.dump({"found": found, "milliseconds": took}, open(source, "w"))
"""

_ODD = ("[SEP]", "[UNK]", "[CLS]", "[MASK]", "[PAD]", "[", "]", "SEP", "e\u0301", "\u0301", "\u200b",
        "\ufeff", "İ", "ß", "ſ", "한", "東", "\U0001f600", "👩\u200d🚀", "\ue000", "\U0010fffd",
        "x" * 100, "y" * 101, "##ing", "##", "!", "\u00a0", "a", "plan",
        " ", "\n", "\t", "\r", "\x1c")  # fmt: skip

ODD_TEXTS = ["", " \t", "\u200b", "東京", "[SEP]", "x" * 7000, "hello " * 3000]


def hostile(count, texts, vocabulary):
    """Unicode of every plane, special tokens in words, marks without letters, pieces glued together."""
    random_ = random.Random(7)
    anything = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code <= 0xDFFF]
    kinds = (
        lambda: "".join(random_.choices(anything, k=random_.randint(0, 40))),
        lambda: "".join(chr(random_.randrange(1, 0x3100)) for _ in range(random_.randint(1, 60))),
        lambda: "".join(random_.choices(_ODD, k=random_.randint(1, 20))),
        lambda: " ".join(random_.choices(vocabulary, k=9)) + "".join(random_.choices(vocabulary, k=3)),
        lambda: random_.choice(anything).join(random_.choice(texts).split(" ")),
    )
    return ["", " ", *(random_.choice(kinds)() for _ in range(count))]


def queries():
    found = []
    place = os.environ.get("POINTSMAN_QUERIES")
    for path in sorted(Path(place).glob("*.jsonl*")) if place else ():
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
            every = [json.loads(line)["query"] for line in lines]
        found += random.Random(1).sample(every, min(EACH, len(every)))
    # A string of ONNX Runtime's C interface ends at its first NUL.
    return [text for text in found if "\0" not in text]


def run(folder, texts, tmp_path, ids="decisions"):
    source = tmp_path / "texts.json"
    source.write_text(json.dumps(texts))
    peer("venv-tr", _RUN, folder, source, ids)
    return json.loads(source.read_text())


def test_token_ids_are_those_of_the_tokenizer(packaged, artifact, texts, tmp_path):
    router = Router.open(artifact.path)
    vocabulary = list(json.loads(artifact.read("tokenizer.json"))["model"]["vocab"])
    given = [*texts, *hostile(HOSTILE, texts, vocabulary), *queries()]
    found = run(packaged("text-in"), given, tmp_path, "ids")["found"]
    expected = [encoding.ids for encoding in router.encode(given)]
    differing = [text for text, one, other in zip(given, expected, found, strict=True) if one != other]
    what = "token ids of the tokenizer in the graph that differ"
    FIGURES["targets"].append(Figure(what, f"{len(differing)} of {len(given):,} texts", aim="0"))
    assert not differing, differing[:5]


def test_decisions_are_those_of_python(packaged, texts, int8, tmp_path):
    result = run(packaged("text-in"), texts, tmp_path)
    found = result["found"]
    what = "int8 with the tokenizer in the graph, one thread"
    compare(what, texts, int8, found, INT8_WITHIN, result["milliseconds"])
    assert all(abs(one["p_local"] + one["p_cloud"] - 1) < 1e-12 for one in found)


def test_the_policy_is_the_artifacts(packaged, artifact, tmp_path):
    found = run(packaged("text-in"), ODD_TEXTS, tmp_path)["found"]
    expected = Router.open(artifact.path, variant="int8").route_many(ODD_TEXTS)
    compare("int8 with the tokenizer in the graph, odd texts", ODD_TEXTS, expected, found, INT8_WITHIN)


def test_the_example_runs(packaged):
    command = [
        runtime("venv-tr", "bin", "python"),
        packaged("text-in") / "example.py",
        "Thanks for your help",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith("local\t0.") and done.stdout.endswith("Thanks for your help\n")
