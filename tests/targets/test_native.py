"""The program in C, compiled and run against Python."""

import json
import subprocess

from tests.targets.comparing import INT8_WITHIN, compare, label_of, ort_place
from tests.targets.test_text_in import hostile

from pointsman.runtime.router import Router


def built(folder):
    if not (folder / "router").exists():
        done = subprocess.run(
            ["make", f"ORT={ort_place()}", "CFLAGS=-O2 -Wall -Wextra -Werror"],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return folder


def run(folder, given):
    return subprocess.run(["./router"], cwd=built(folder), input=given, capture_output=True, timeout=300)


def decisions(folder, texts):
    # A text is a line; to the tokenizer a line's end is white space as any other.
    lines = [text.replace("\n", " ") for text in texts]
    done = run(folder, "".join(f"{line}\n" for line in lines).encode())
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    return [
        {"label": label_of(float(p)), "target": target, "p_cloud": float(p), "tokens": int(tokens)}
        for target, p, tokens in rows
    ]


def test_c_answers_as_python(packaged, texts, int8):
    found = decisions(packaged("c"), texts)
    compare("int8 in C, one thread", texts, int8, found, INT8_WITHIN)


def test_c_reads_hostile_texts_as_python(packaged, artifact, texts):
    vocabulary = list(json.loads(artifact.read("tokenizer.json"))["model"]["vocab"])
    odd = hostile(500, texts, vocabulary)
    expected = Router.open(artifact.path, variant="int8").route_many(odd)
    found = decisions(packaged("c"), odd)
    compare("int8 in C, hostile texts", odd, expected, found, INT8_WITHIN)


def test_c_refuses_what_is_not_utf8(packaged):
    done = run(packaged("c"), b"\xff\xfe\n")
    assert (done.returncode, done.stderr) == (3, b"router: standard input: is not UTF-8\n")
