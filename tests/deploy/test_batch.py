import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from tests.support.tiny_artifact import build_tiny_artifact

from pointsman.cli.__main__ import main
from pointsman.deploy.batch import run as run_module
from pointsman.runtime.router import Router

QUERIES = ["hello thanks", "analyze the plan", "play", "plan and analyze", "", "what now"]


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_artifact(tmp_path_factory.mktemp("router") / "tiny").path


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("BERT_", "POINTSMAN_")):
            monkeypatch.delenv(name)


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"id": i, "query": QUERIES[i % len(QUERIES)]} for i in range(start, start + count)]


def write_lines(path: Path, data: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in data), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def batch(router: Path, *words: object) -> int:
    return main(["batch", *map(str, words), "--artifact", str(router), "--threads", "1", "--quiet"])


def test_every_row_has_the_routers_decision(router: Path, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "q.jsonl", rows(25))
    assert batch(router, source, tmp_path / "out.jsonl", "--chunk-rows", 4) == 0
    found = read_lines(tmp_path / "out.jsonl")
    assert [row["id"] for row in found] == list(range(25))
    decisions = Router.open(router).route_many([row["query"] for row in found])
    for row, decision in zip(found, decisions, strict=True):
        assert (row["target"], row["reason"], row["truncated"]) == (
            decision.target,
            decision.reason.value,
            decision.truncated,
        )
        assert row["p_cloud"] == pytest.approx(decision.p_cloud, abs=1e-6)
    assert not (tmp_path / "out.jsonl.parts").exists()


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_it_ends_with_the_split_and_the_labels_that_agree(
    router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    texts = [("hello thanks", 0), ("analyze the plan", 1), ("play", 1), ("plan and analyze", 1)] * 5
    table = pa.Table.from_pylist([{"query": text, "hard": hard} for text, hard in texts])
    source = tmp_path / f"q.{suffix}"
    if suffix == "parquet":
        pq.write_table(table, source)
    elif suffix == "csv":
        pyarrow.csv.write_csv(table, source)
    else:
        write_lines(source, table.to_pylist())
    words = [source, tmp_path / f"out.{suffix}", "--chunk-rows", 3, "--label", "hard", "--local-when", 0]
    assert batch(router, *words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == [
        "10 to the local model (50.0%)",
        "10 to the cloud model (50.0%)",
        "15 of 20 labels agree (75.0%)",
    ]
    assert batch(router, source, tmp_path / f"o.{suffix}", "--label", "harder") == 2
    assert "no column 'harder'" in capsys.readouterr().err


def test_the_summary_as_json_has_the_split(
    router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_lines(tmp_path / "q.jsonl", [*rows(6), {"query": "play", "label": "cloud"}])
    assert batch(router, source, tmp_path / "out.jsonl", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["routed"], found["local"] + found["cloud"], found["labelled"]) == (7, 7, 0)


@pytest.mark.parametrize("name", ["o.xlsx", "o.XLS", "o.ods", "o.json", "o.tsv", "o.txt"])
def test_an_output_of_a_kind_that_is_not_written_is_refused(
    router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert batch(router, write_lines(tmp_path / "q.jsonl", rows(3)), tmp_path / name) == 2
    assert "expected .jsonl, .csv, .parquet, .arrow, or a directory" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_all_formats_in_and_out_agree(router: Path, tmp_path: Path) -> None:
    data = [row for row in rows(20) if row["query"]]
    table = pa.Table.from_pylist(data)
    write_lines(tmp_path / "q.jsonl", data)
    pq.write_table(table, tmp_path / "q.parquet", row_group_size=3)
    pyarrow.csv.write_csv(table, tmp_path / "q.csv")
    with pa.ipc.new_file(tmp_path / "q.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    with pa.ipc.new_stream(tmp_path / "stream.arrow", table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "z.jsonl.gz").write_bytes(gzip.compress((tmp_path / "q.jsonl").read_bytes()))
    for index, source in enumerate(
        ["q.jsonl", "q.csv", "q.parquet", "q.arrow", "stream.arrow", "z.jsonl.gz"]
    ):
        for form in ("jsonl", "csv", "parquet", "arrow"):
            output = tmp_path / f"o{index}.{form}"
            assert batch(router, tmp_path / source, output, "--chunk-rows", 4) == 0
            found = read_any(output)
            assert [int(row["id"]) for row in found] == [row["id"] for row in data], (source, form)
            assert [row["target"] for row in found] == [
                decision.target for decision in Router.open(router).route_many([r["query"] for r in data])
            ]


def read_any(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return read_lines(path)
    if path.suffix == ".csv":
        return pyarrow.csv.read_csv(path).to_pylist()
    return (
        pq.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(path).read_all()
    ).to_pylist()


def test_bad_lines_go_to_the_side_file_with_place_and_reason(router: Path, tmp_path: Path) -> None:
    source = tmp_path / "q.jsonl"
    source.write_bytes(
        b'{"query": "hello", "id": 1}\n{"query": "\xff"}\n\n{"query": 5}\n{"other": "x"}\n'
        b'{"query": "pl\n[1]\n'
        b'{"query": null}\n{"query": "\\ud800"}\n{"query": NaN}\n{"query": "plan", "id": 2}'
    )
    assert batch(router, source, tmp_path / "out.jsonl", "--chunk-rows", 3) == 0
    assert [row["id"] for row in read_lines(tmp_path / "out.jsonl")] == [1, 2]
    bad = read_lines(tmp_path / "out.jsonl.bad.jsonl")
    assert [row["line"] for row in bad] == [2, 4, 5, 6, 7, 8, 9, 10]
    reasons = [row["reason"] for row in bad]
    assert "UTF-8" in reasons[0] and "found int" in reasons[1] and "no value" in reasons[2]
    assert "not JSON" in reasons[3] and "object" in reasons[4] and "surrogate" in reasons[6]
    assert all(row["file"] == str(source) for row in bad)


def test_bad_csv_records(router: Path, tmp_path: Path) -> None:
    source = tmp_path / "q.csv"
    source.write_bytes(b'\xef\xbb\xbfid,query\n1,hello\n2\n3,\xff\n4,"two\nlines"\n5,\n6,plan\n7,"open\n')
    assert batch(router, source, tmp_path / "out.csv", "--chunk-rows", 2) == 0
    found = pyarrow.csv.read_csv(
        tmp_path / "out.csv", parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True)
    ).to_pylist()
    assert [(row["id"], row["query"]) for row in found] == [(1, "hello"), (4, "two\nlines"), (6, "plan")]
    assert [row["line"] for row in read_lines(tmp_path / "out.csv.bad.jsonl")] == [3, 4, 7, 9]


def test_bad_table_rows(router: Path, tmp_path: Path) -> None:
    raw = pa.array([b"hello", None, b"\xff\xfe", b"plan"], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 4, raw.buffers())
    pq.write_table(pa.table({"query": broken, "id": [1, 2, 3, 4]}), tmp_path / "q.parquet")
    assert batch(router, tmp_path / "q.parquet", tmp_path / "out.parquet") == 0
    assert pq.read_table(tmp_path / "out.parquet").column("id").to_pylist() == [1, 4]
    assert [row["line"] for row in read_lines(tmp_path / "out.parquet.bad.jsonl")] == [2, 3]


@pytest.mark.parametrize("output", ["out", "out.jsonl"])
def test_a_wrong_column_is_refused_and_binds_nothing(
    output: str, router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"prompt": ["hello"]}), tmp_path / "q.parquet")
    assert batch(router, tmp_path / "q.parquet", tmp_path / output) == 2
    assert "no column 'query'; found ['prompt']" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["q.parquet"]
    assert batch(router, tmp_path / "q.parquet", tmp_path / output, "--column", "prompt") == 0


def test_a_column_that_collides_asks_for_a_prefix(
    router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_lines(tmp_path / "q.jsonl", [{"query": "hello", "target": "mine"}])
    assert batch(router, source, tmp_path / "out.jsonl") == 2
    assert "--prefix" in capsys.readouterr().err
    assert batch(router, source, tmp_path / "out.jsonl", "--prefix", "route_") == 0
    [row] = read_lines(tmp_path / "out.jsonl")
    assert (row["target"], row["route_target"]) == ("mine", "local")


def test_mixed_schemas(router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_lines(tmp_path / "1.jsonl", [{"query": "hello", "a": 1}])
    two = write_lines(tmp_path / "2.jsonl", [{"query": "plan", "b": [1], "a": 1.5}])
    for form in ("jsonl", "csv", "parquet", "arrow"):
        assert batch(router, one, two, tmp_path / f"out.{form}") == 0
    assert pq.read_table(tmp_path / "out.parquet").column("a").to_pylist() == [1.0, 1.5]
    three = write_lines(tmp_path / "3.jsonl", [{"query": "plan", "a": "text"}, {"query": "plan", "a": 1}])
    assert batch(router, three, tmp_path / "bad.parquet") == 2
    assert "--format jsonl" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["q.parquet", "q.jsonl.gz", "q.arrow"])
def test_a_truncated_file_is_named(
    name: str, router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pa.Table.from_pylist(rows(1000))
    pq.write_table(table, tmp_path / "q.parquet")
    with pa.ipc.new_file(tmp_path / "q.arrow", table.schema) as writer:
        writer.write_table(table)
    write_lines(tmp_path / "w.jsonl", rows(1000))
    (tmp_path / "q.jsonl.gz").write_bytes(gzip.compress((tmp_path / "w.jsonl").read_bytes()))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    assert batch(router, tmp_path / name, tmp_path / "out.jsonl") == 2
    assert name in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()


def test_outputs_that_are_taken_are_refused(
    router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_lines(tmp_path / "q.jsonl", rows(3))
    (tmp_path / "out.jsonl").write_text("mine")
    assert batch(router, source, tmp_path / "out.jsonl") == 4
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "mine").write_text("mine")
    assert batch(router, source, tmp_path / "dir") == 4
    assert batch(router, source, "/dev/null/out") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert (tmp_path / "out.jsonl").read_text() == "mine"


def test_a_run_told_otherwise_is_refused(
    router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_lines(tmp_path / "q.jsonl", rows(9))
    assert batch(router, source, tmp_path / "out", "--chunk-rows", 2) == 0
    assert batch(router, source, tmp_path / "out", "--chunk-rows", 2) == 0
    assert "9 records done before" in capsys.readouterr().out
    assert batch(router, source, tmp_path / "out", "--chunk-rows", 3) == 2
    assert "options.chunk_rows was 2, is now 3" in capsys.readouterr().err
    assert batch(router, source, tmp_path / "out", "--chunk-rows", 2, "--cloud-threshold", "0.9") == 2
    write_lines(source, rows(10))
    assert batch(router, source, tmp_path / "out", "--chunk-rows", 2) == 2
    assert "inputs.0" in capsys.readouterr().err


def rewrite_in_place(source: Path) -> None:
    """Write another content of the same size, at the same time."""
    stat = source.stat()
    source.write_bytes(source.read_bytes().replace(b"plan", b"look"))
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (source.stat().st_size, source.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)


def test_an_input_rewritten_between_runs_is_refused(
    router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_lines(tmp_path / "q.jsonl", [{"query": "plan hello"}] * 9)
    assert batch(router, source, tmp_path / "out", "--chunk-rows", 2) == 0
    rewrite_in_place(source)
    assert batch(router, source, tmp_path / "out", "--chunk-rows", 2) == 2
    assert "inputs.0.modified was" in capsys.readouterr().err


def test_an_input_rewritten_during_a_run_is_refused(
    router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_lines(tmp_path / "q.jsonl", [{"query": "plan hello"}] * 9)
    whole = run_module.read_chunks

    def read(*words: Any, **options: Any) -> Iterator[Any]:
        for number, chunk in enumerate(whole(*words, **options)):
            if number == 2:
                rewrite_in_place(source)
            yield chunk

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "read_chunks", read)
        assert batch(router, source, tmp_path / "out.jsonl", "--chunk-rows", 2) == 2
    assert "was changed while it was read" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()
    assert batch(router, source, tmp_path / "out.jsonl", "--chunk-rows", 2) == 2
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("number", ["1e400", "-1e400", "[1e999]", "NaN", "Infinity"])
def test_a_number_that_is_none_is_a_bad_row(router: Path, tmp_path: Path, number: str) -> None:
    source = tmp_path / "q.jsonl"
    source.write_text(f'{{"query": "plan"}}\n{{"query": "plan", "x": {number}}}\n', encoding="utf-8")
    batch(router, source, tmp_path / "out.jsonl")
    assert len(read_lines(tmp_path / "out.jsonl")) == 1
    bad = read_lines(tmp_path / "out.jsonl.bad.jsonl")
    assert [row["line"] for row in bad] == [2]
    assert "not JSON" in bad[0]["reason"]


def test_globs_and_fsspec_addresses(router: Path, tmp_path: Path) -> None:
    import fsspec

    write_lines(tmp_path / "a.jsonl", rows(3))
    write_lines(tmp_path / "b.jsonl", rows(3, 3))
    assert batch(router, tmp_path / "*.jsonl", tmp_path / "a.jsonl", tmp_path / "out.jsonl") == 0
    assert [row["id"] for row in read_lines(tmp_path / "out.jsonl")] == list(range(6))
    memory = fsspec.filesystem("memory")
    for name in ("a", "b"):
        memory.pipe_file(f"/in/{name}.jsonl", (tmp_path / f"{name}.jsonl").read_bytes())
    assert batch(router, "memory://in/*.jsonl", "memory://routed", "--chunk-rows", 2) == 0
    parts = sorted(name for name in memory.ls("/routed", detail=False) if "part-" in name)
    data = b"".join(memory.cat_file(name) for name in parts)
    assert [json.loads(line)["id"] for line in data.splitlines()] == list(range(6))
    memory.rm("/", recursive=True)


def test_no_such_file_and_no_such_format(
    router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(router, tmp_path / "none.jsonl", tmp_path / "out") == 2
    (tmp_path / "x.doc").write_text("x")
    assert batch(router, tmp_path / "x.doc", tmp_path / "out") == 2
    assert "tells no format" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_empty_file_gives_an_empty_file(router: Path, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_bytes(b"")
    assert batch(router, tmp_path / "q.jsonl", tmp_path / "out.parquet") == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_killed_while_it_cleans_up_it_leaves_nothing_that_binds_the_next_run(
    router: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = write_lines(tmp_path / "q.jsonl", rows(9)), tmp_path / "out.jsonl"

    def killed(folder: Path, **_: object) -> None:
        if folder.exists():
            min(path for path in folder.iterdir() if path.suffix == ".json").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        assert batch(router, source, output) == 130
    assert [row["id"] for row in read_lines(output)] == list(range(9))
    output.unlink()
    assert batch(router, source, output) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "q.jsonl"]


KILLED = """
import os, runpy, signal, sys
left = int(sys.argv.pop(1))

def watch(event, facts):
    global left
    if event == "os.rename" and os.path.basename(os.fspath(facts[1])).startswith("part-"):
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

sys.addaudithook(watch)
runpy.run_module("pointsman", run_name="__main__", alter_sys=True)
"""
"""The command line, killed where so many parts are there and one more is about to be."""


@pytest.mark.parametrize("parts", [2, 11])
def test_killed_in_the_middle_and_started_again_every_row_is_there_once(
    parts: int, router: Path, tmp_path: Path
) -> None:
    source = write_lines(tmp_path / "q.jsonl", [*rows(4000), {"bad": 1}])
    output = tmp_path / "out.jsonl"
    words = [str(source), str(output), "--artifact", str(router), "--threads", "2", "--chunk-rows", "20"]
    command = [sys.executable, "-c", KILLED, str(parts), "batch", *words, "--quiet"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    folder = Path(f"{output}.parts")
    assert len(list(folder.glob("part-*"))) == parts
    assert not output.exists()
    assert batch(router, source, output, "--chunk-rows", 20) == 0
    assert [row["id"] for row in read_lines(output)] == list(range(4000))
    assert len(read_lines(Path(f"{output}.bad.jsonl"))) == 1
    assert not folder.exists()
