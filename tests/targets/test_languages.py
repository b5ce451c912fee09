"""The programs around the one file that takes text: C++ compiled and run against Python, Java compiled."""

import shutil
import subprocess

import pytest
from tests.targets.comparing import INT8_WITHIN, compare, runtime
from tests.targets.programs import WARNINGS, built, decided
from tests.targets.test_text_in import ODD_TEXTS

from pointsman.runtime.router import Router


def program(folder):
    return built(folder, f"CXXFLAGS={WARNINGS}")


def run(folder, given):
    command = [program(folder), runtime("ort", "lib", "libortextensions.so")]
    return subprocess.run(command, cwd=folder, input=given, capture_output=True, timeout=300)


def decisions(folder, texts):
    return decided(lambda given: run(folder, given), texts)


def test_cpp_answers_as_python(packaged, texts, int8):
    what = "int8 in C++ with the tokenizer in the graph, one thread"
    compare(what, texts, int8, decisions(packaged("cpp"), texts), INT8_WITHIN)


def test_cpp_reads_odd_texts_as_python(packaged, artifact):
    expected = Router.open(artifact.path, variant="int8").route_many(ODD_TEXTS)
    what = "int8 in C++ with the tokenizer in the graph, odd texts"
    compare(what, ODD_TEXTS, expected, decisions(packaged("cpp"), ODD_TEXTS), INT8_WITHIN)


def test_cpp_survives_what_is_not_utf8_and_says_what_is_missing(packaged):
    folder = packaged("cpp")
    done = run(folder, b"\xff\xfe\nhello\n")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2
    done = subprocess.run([program(folder), "./nowhere.so"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 3 and "nowhere.so" in done.stderr
    assert subprocess.run([program(folder)], cwd=folder, capture_output=True).returncode == 2


def test_java_compiles_against_the_librarys_classes(packaged):
    if shutil.which("javac") is None:
        pytest.skip("no Java compiler is installed (Debian: apt-get install default-jdk-headless)")
    command = [
        "javac",
        "-Xlint:all",
        "-Werror",
        "-cp",
        runtime("ort", "lib", "onnxruntime.jar"),
        "Router.java",
    ]
    done = subprocess.run(command, cwd=packaged("java"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
