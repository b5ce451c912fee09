"""Files as people have them: every kind reads alike, or is refused with one line."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.data_files import data_files, lines

from pointsman.datasets.outcomes import read_dataset
from pointsman.datasets.reading import read_queries, read_rows, read_texts
from pointsman.datasets.records import MAX_DEPTH, MAX_LINE
from pointsman.datasets.rows import COLUMNS, Columns
from pointsman.errors import DataError

ROWS = [
    {"query": "Hello there", "label": "local"},
    {"query": 'Prüfe, ob es stimmt; dann "sag" es', "label": "cloud"},
    {"query": "two\nlines\tand a tab", "label": "cloud"},
    {"query": "写一首诗 🙂", "label": "local"},
]


KINDS = data_files(ROWS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_reads_alike(tmp_path: Path, kind: str) -> None:
    name, content = KINDS[kind]
    (tmp_path / name).write_bytes(content)
    found = read_dataset([tmp_path / name], COLUMNS)
    assert found.bad == ()
    assert list(found.queries) == [row["query"] for row in ROWS]
    assert found.is_cloud.tolist() == [row["label"] == "cloud" for row in ROWS]


@pytest.mark.parametrize("ending", [".xlsx", ".xls", ".ods", ".numbers", ".XLSM", ".docx", ".zip", ""])
def test_what_is_no_data_file_is_refused_by_name(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"table{ending}"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"spreadsheet\. Save it as CSV|tells no format"):
        read_queries([path], COLUMNS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.csv", "text,label\n" + "a,local\n" * 500),
        ("q.csv", "text;label\n" + "a;local\n" * 500),
        ("q.jsonl", '{"text": "a", "label": "local"}\n' * 500),
        ("q.json", json.dumps([{"text": "a", "label": "local"}] * 500)),
    ],
)
def test_a_missing_text_column_is_named_once_with_those_found(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(
        DataError, match=r"no column 'query'; found \['text', 'label'\]. Name it with --column"
    ):
        read_dataset([tmp_path / name], COLUMNS)
    assert len(read_dataset([tmp_path / name], Columns("text")).queries) == 500


def test_plain_lines_are_queries(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("\ufeffhello, you\n\n  what now?  \n{broken\n", encoding="utf-8")
    assert read_texts(tmp_path / "q.txt") == ["hello, you", "what now?", "{broken"]


def test_a_long_field_is_read_and_a_line_without_end_is_one_bad_row(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text(f"query,label\n{'x' * 300_000},local\n", encoding="utf-8")
    assert [len(row.query) for row in read_rows(tmp_path / "q.csv", COLUMNS, [])] == [300_000]
    bad: list[str] = []
    (tmp_path / "q.jsonl").write_text(
        lines(ROWS[:1]) + json.dumps({"query": "y" * MAX_LINE}) + "\n" + lines(ROWS[1:2]), encoding="utf-8"
    )
    assert [row.line for row in read_rows(tmp_path / "q.jsonl", COLUMNS, bad)] == [1, 3]
    assert bad == ["q.jsonl:2: the line is too long"]


@pytest.mark.parametrize("levels", [MAX_DEPTH - 2, MAX_DEPTH + 1, 5_000, 200_000])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_deep_json_is_read_or_is_one_bad_row(tmp_path: Path, levels: int, brackets: str) -> None:
    opening = '{"a":' if brackets == "{}" else "["
    inner = f"{opening * levels}1{brackets[1] * levels}"
    (tmp_path / "q.jsonl").write_text(
        f'{{"query": "deep", "label": "local", "x": {inner}}}\n{lines(ROWS[:1])}', encoding="utf-8"
    )
    bad: list[str] = []
    found = [row.query for row in read_rows(tmp_path / "q.jsonl", COLUMNS, bad)]
    if levels < MAX_DEPTH:
        assert found == ["deep", "Hello there"] and not bad
    else:
        assert found == ["Hello there"]
        assert bad == [f"q.jsonl:1: not JSON: it is nested deeper than {MAX_DEPTH}"]


@pytest.mark.parametrize("name", ["q.csv", "q.jsonl"])
def test_a_chat_is_read_where_there_is_no_text_column(tmp_path: Path, name: str) -> None:
    messages = [{"role": "user", "content": "first"}, {"role": "user", "content": "second"}]
    if name.endswith("csv"):
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows(
                [["messages", "label"], [json.dumps(messages), "local"], ["[broken", "x"]]
            )
    else:
        (tmp_path / name).write_text(json.dumps({"messages": messages}) + "\n", encoding="utf-8")
    assert [row.query for row in read_rows(tmp_path / name, COLUMNS, [])] == ["second"]


def test_what_is_not_utf8_is_a_bad_row_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_bytes("query;label\nPrüfe;local\nHello;local\n".encode("cp1252"))
    bad: list[str] = []
    assert [row.query for row in read_rows(tmp_path / "q.csv", COLUMNS, bad)] == ["Hello"]
    assert bad == ["q.csv:2: not UTF-8; save the file as UTF-8"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.json", b"[{]"),
        ("q.json", b"[" * 100_000),
        ("q.json", b"3"),
        ("q.json", b"\xff\x00\xff"),
        ("q.jsonl.gz", b"\x1f\x8b\x08 cut"),
        ("q.csv.gz", b"not gzip"),
        ("q.csv", b"query,query\na,b\n"),
        ("q.csv", b'"query,label\na,b\n'),
        ("q.csv", b"\xff\xfeq"),
        ("q.csv", b""),
        ("q.parquet", b"PAR1"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_dataset([tmp_path / name], COLUMNS)
    assert "\n" not in str(caught.value) and name in str(caught.value)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), name=st.sampled_from(["q.csv", "q.tsv", "q.jsonl", "q.json", "q.txt"]))
def test_any_bytes_are_rows_or_bad_rows_or_one_refusal(tmp_path: Path, data: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(data)
    try:
        for row in read_rows(tmp_path / name, COLUMNS, []):
            json.dumps(dict(row.values), ensure_ascii=False).encode()
    except DataError:
        pass
