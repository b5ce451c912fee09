"""The shape of the package: one table of floors, a light core, files that a reader can hold in mind."""

import ast
import subprocess
import sys
import typing
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "pointsman"

FLOORS = {
    "foundation": 0,
    "artifact": 1,
    "runtime": 2,
    "datasets": 3,
    "checkpoint": 3,
    "evaluation": 4,
    "convert": 5,
    "train": 5,
    "traffic": 5,
    "serve": 5,
    "deploy": 5,
    "bench": 6,
    "fit": 6,
    "compat": 7,
    "cli": 8,
}
"""A room may import from its own and from lower floors; rooms of one floor are strangers."""

SERVE_FLOORS = {
    "setting_values": -2,
    "traffic_settings": -1,
    "upstream_settings": -1,
    "settings": 0,
    "failures": 0,
    "logs": 0,
    "edge": 1,
    "settings_loader": 1,
    "inference": 1,
    "observability": 2,
    "routing": 2,
    "upstream": 3,
    "capture": 3,
    "budget": 3,
    "gateway": 4,
    "dispatch": 5,
    "chat": 6,
    "classification": 6,
    "operations": 7,
    "routes": 8,
    "app": 8,
    "processes": 9,
    "litellm_plugin": 9,
}
"""The same inside the gateway, the largest room: its own rooms and the files that stand between them."""

BESIDE_FLOORS = {
    "tests.support": 0,
    "tests.support.harness": 1,
    "benchmarks": 2,
    "tests.reliability": 2,
    "tests": 3,
}
"""What stands beside the package: helpers, the two suites that run checks, and the tests."""

FOUNDATION = {"errors", "settings", "labels", "decision", "policy", "pacing", "progress"}
HEAVY = {"torch", "transformers", "onnx", "sklearn", "matplotlib", "fastapi", "httpx", "pyarrow", "ray"}
LIGHT_ROOMS = {"foundation", "artifact", "runtime"}
FORBIDDEN_CALLS = {"eval", "exec", "__import__"}
LINES = 400
FUNCTION_LINES, PARAMETERS = 40, 5
LONG_FUNCTIONS, WIDE_FUNCTIONS, BIG_LINES = 0, 2, 300

FILES = sorted(SOURCE.rglob("*.py"))


def room_of(module: str) -> str | None:
    """The room of `pointsman.x.y`; None for the package's own front door."""
    parts = module.split(".")
    if parts[0] != "pointsman" or len(parts) == 1 or parts[1] in ("__main__", "__init__"):
        return None
    return "foundation" if parts[1] in FOUNDATION else parts[1]


def module_of(path: Path) -> str:
    return ".".join(["pointsman", *path.relative_to(SOURCE).with_suffix("").parts])


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def room_beside(module: str) -> str | None:
    """The longest name of `BESIDE_FLOORS` that a module's name begins with."""
    found = [room for room in BESIDE_FLOORS if f"{module}.".startswith(f"{room}.")]
    return max(found, key=len, default=None)


def test_every_room_is_in_the_table():
    rooms = {room_of(module_of(path)) for path in FILES if path.parent != SOURCE} - {None}
    assert rooms == set(FLOORS) - {"foundation"}
    assert {path.stem for path in SOURCE.glob("*.py")} == FOUNDATION | {"__init__", "__main__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_imports_only_point_downward(path):
    room = room_of(module_of(path))
    if room is None:
        return
    for module in imports_of(path):
        other = room_of(module)
        if other is not None and other != room:
            assert FLOORS[other] < FLOORS[room], f"{room} imports {module}"


def test_the_gateways_rooms_are_in_their_table_and_import_only_downward():
    serve = SOURCE / "serve"
    found = {path.relative_to(serve).parts[0].removesuffix(".py") for path in FILES if serve in path.parents}
    assert found - {"__init__"} == set(SERVE_FLOORS)
    for path in FILES:
        room = module_of(path).split(".")[2:3]
        if serve not in path.parents or room == ["__init__"]:
            continue
        for module in imports_of(path):
            other = module.split(".")
            if other[:2] == ["pointsman", "serve"] and other[2:3] != room:
                assert other[2:], f"{path}: import the file, not the room"
                assert SERVE_FLOORS[other[2]] < SERVE_FLOORS[room[0]], f"{path} imports {module}"


def test_no_files_import_each_other_in_a_circle():
    """Not even inside a function or for a type: whoever reads one of them has to read them all."""
    known = {module_of(path) for path in FILES}
    graph = {}
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = imports_of(path) | {
            f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        graph[module_of(path)] = names & known
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_light_rooms_know_no_heavy_package():
    for path in FILES:
        if room_of(module_of(path)) in LIGHT_ROOMS:
            assert not {name.split(".")[0] for name in imports_of(path)} & HEAVY, path


@pytest.mark.parametrize("module", ["pointsman", "pointsman.cli.__main__"])
def test_importing_brings_nothing_heavy_and_does_nothing(module, tmp_path):
    code = (
        "import builtins, sys\n"
        f"import {module}\n"
        f"heavy = sorted(set(sys.modules) & {HEAVY | {'huggingface_hub'}!r})\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_a_file_is_one_thought_and_runs_no_foreign_code(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES
    names = imports_of(path)
    assert not {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"} & names
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"line {node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            pytest.fail(f"line {node.lineno}: torch.load")
    assert path.stem not in ("utils", "helpers", "common", "misc")


def test_the_front_door_is_what_it_says():
    import pointsman

    assert all(hasattr(pointsman, name) for name in pointsman.__all__)
    # Whatever a public function takes or returns can be imported from the same place.
    public = [getattr(pointsman, name) for name in pointsman.__all__]
    for function in (pointsman.Router.open, pointsman.Router.route, pointsman.Router.route_many):
        for hint in typing.get_type_hints(function).values():
            for kind in typing.get_args(hint) or (hint,):
                if getattr(kind, "__module__", "").startswith("pointsman"):
                    assert kind in public, f"{function.__qualname__}: {kind}"


def says_why_it_is_big(path: Path) -> bool:
    """Whether the text at a file's top speaks of its lines, as in `It has more than 300 lines, because`."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return f"more than {BIG_LINES} lines, because" in " ".join(text.split())


def test_functions_and_files_stay_small():
    """Ceilings of what is there; they may only fall. A file of more lines says at its top why it has them."""
    long, wide = set(), set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.end_lineno is None:
                continue
            where = f"{path.relative_to(SOURCE)}: {node.name}"
            names = {one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
            if node.end_lineno - node.lineno >= FUNCTION_LINES:
                long.add(where)
            if len(names - {"self", "cls"}) > PARAMETERS:
                wide.add(where)
    big = {path for path in FILES if len(path.read_text(encoding="utf-8").splitlines()) > BIG_LINES}
    unexplained = {str(path.relative_to(SOURCE)) for path in big if not says_why_it_is_big(path)}
    assert len(long) <= LONG_FUNCTIONS, sorted(long)
    assert len(wide) <= WIDE_FUNCTIONS, sorted(wide)
    assert not unexplained, f"more than {BIG_LINES} lines and no sentence why: {sorted(unexplained)}"


def test_what_stands_beside_the_package_imports_only_downward():
    root = SOURCE.parents[1]
    for path in sorted([*(root / "tests").rglob("*.py"), *(root / "benchmarks").rglob("*.py")]):
        room = room_beside(".".join(path.relative_to(root).with_suffix("").parts))
        assert room is not None
        for module in imports_of(path):
            other = room_beside(module)
            if other is not None and other != room:
                assert BESIDE_FLOORS[other] < BESIDE_FLOORS[room], f"{path} imports {module}"
