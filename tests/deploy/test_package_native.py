"""The packaged program in C, compiled and run with the library of Python's own ONNX Runtime."""

import shutil
import subprocess
from pathlib import Path

import onnxruntime
import pytest
from tests.runtime.test_readability import READABLE, UNREADABLE
from tests.support.places import ROOT

from pointsman.artifact.store import Artifact
from pointsman.deploy.package.build import build_package
from pointsman.deploy.package.catalogue import target_named
from pointsman.runtime.router import Router

pytestmark = pytest.mark.slow

SHIPPED = ROOT / "src" / "pointsman" / "shipped"
HEADERS = ROOT / "tests" / "support" / "onnxruntime"
LIBRARIES = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None or not LIBRARIES:
        pytest.skip("no C compiler, or an ONNX Runtime without a shared library of its own")
    made = tmp_path_factory.mktemp("c") / "made"
    build_package(target_named("c"), Artifact.open(SHIPPED), made)
    # The name that the library has for the linker; the wheel holds it under its full version alone.
    (made / "libonnxruntime.so.1").symlink_to(LIBRARIES[0])
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{HEADERS}", f"-Wl,-rpath,{made}"]
    command = ["gcc", *flags, "-o", "router", "router.c", "libonnxruntime.so.1", "-lm"]
    done = subprocess.run(command, cwd=made, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return made / "router"


def test_it_decides_as_python_and_knows_what_it_cannot_read(program: Path) -> None:
    texts = [text.replace("\n", " ") for text in (*UNREADABLE, *READABLE, "", " ", "\u200b")]
    given = "".join(f"{text}\n" for text in texts).encode()
    done = subprocess.run([program], cwd=program.parent, input=given, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = [line.split("\t") for line in done.stdout.decode().splitlines()]
    router = Router.open(SHIPPED, variant="int8")
    for text, (target, p_cloud, tokens) in zip(texts, found, strict=True):
        decision = router.route_many([text])[0]
        assert (target, int(tokens)) == (decision.target, decision.tokens), text
        assert float(p_cloud) == pytest.approx(decision.p_cloud, abs=0.01), text
        if text in UNREADABLE:
            assert target == router.policy.safe_target
