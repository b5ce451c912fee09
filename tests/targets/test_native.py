"""The program in C, compiled and run against Python."""

import json
import subprocess

from tests.targets.comparing import INT8_WITHIN, compare
from tests.targets.programs import WARNINGS, built, decided
from tests.targets.test_text_in import hostile

from pointsman.runtime.router import Router


def run(folder, given):
    program = built(folder, f"CFLAGS={WARNINGS}")
    return subprocess.run([program], cwd=folder, input=given, capture_output=True, timeout=300)


def decisions(folder, texts):
    return decided(lambda given: run(folder, given), texts)


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
