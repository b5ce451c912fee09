"""Files of queries as people have them: the same rows in every kind of file."""

import csv
import gzip
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

Rows = list[dict[str, str]]


def table(rows: Rows, delimiter: str, ending: str = "\n", quoting: Any = csv.QUOTE_MINIMAL) -> str:
    """CSV text."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, lineterminator=ending, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def lines(rows: Rows) -> str:
    """JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def text(content: str, encoding: str = "utf-8", packed: bool = False) -> bytes:
    """The bytes of a text file."""
    data = content.encode(encoding)
    return gzip.compress(data) if packed else data


def parquet(rows: Rows) -> bytes:
    """A Parquet file."""
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def feather(rows: Rows) -> bytes:
    """An Arrow file."""
    out = io.BytesIO()
    pyarrow.feather.write_feather(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def with_trailing(rows: Rows, commas: str) -> str:
    """CSV as spreadsheets write it beside empty columns."""
    out = io.StringIO(newline="")
    read = csv.reader(io.StringIO(table(rows, ","), newline=""))
    csv.writer(out, lineterminator="\n").writerows([*row, *[""] * len(commas)] for row in read)
    return out.getvalue()


def data_files(rows: Rows) -> dict[str, tuple[str, bytes]]:
    """Kind to file name and content; rows have the columns `query` and `label`."""
    names = list(rows[0])
    return {
        "lines": ("q.jsonl", text(lines(rows))),
        "lines, BOM": ("q.jsonl", text(lines(rows), "utf-8-sig")),
        "lines, CRLF": ("q.ndjson", text(lines(rows).replace("\n", "\r\n"))),
        "lines, capitals": ("q.JSONL", text(lines(rows))),
        "lines, gzip": ("q.jsonl.gz", text(lines(rows), packed=True)),
        "lines, gzip in capitals": ("Q.JSONL.GZ", text(lines(rows), packed=True)),
        "lines, UTF-16": ("q.jsonl", text(lines(rows), "utf-16")),
        "lines that end in commas": ("q.jsonl", text(lines(rows).replace("}\n", ",},\n"))),
        "array": ("q.json", text(json.dumps(rows))),
        "array, indented, BOM": ("q.json", text(json.dumps(rows, indent=2), "utf-8-sig")),
        "array, gzip": ("q.json.gz", text(json.dumps(rows), packed=True)),
        "array under a name": ("q.json", text(json.dumps({"version": 1, "data": rows, "tags": []}))),
        "array, trailing commas": ("q.json", text(json.dumps(rows).replace("}", ",}").replace("]", ",]"))),
        "columns": ("q.json", text(json.dumps({k: [row[k] for row in rows] for k in names}))),
        "columns, as pandas writes them": (
            "q.json",
            text(json.dumps({k: {str(i): row[k] for i, row in enumerate(rows)} for k in names})),
        ),
        "lines called json": ("q.json", text(lines(rows))),
        "csv": ("q.csv", text(table(rows, ","))),
        "csv, BOM": ("q.csv", text(table(rows, ","), "utf-8-sig")),
        "csv, CRLF, capitals": ("q.CSV", text(table(rows, ",", "\r\n"))),
        "csv, gzip": ("q.csv.gz", text(table(rows, ","), packed=True)),
        "csv, semicolons": ("q.csv", text(table(rows, ";"), "utf-8-sig")),
        "csv, semicolons, all quoted": ("q.csv", text(table(rows, ";", quoting=csv.QUOTE_ALL))),
        "csv, tabs": ("q.csv", text(table(rows, "\t"))),
        "csv, bars": ("q.csv", text(table(rows, "|"))),
        "csv, declared": ("q.csv", text("sep=;\r\n" + table(rows, ";", "\r\n"))),
        "csv, UTF-16 without a mark": ("q.csv", text(table(rows, ","), "utf-16-le")),
        "csv, UTF-16, big end first, without a mark": ("q.csv", text(table(rows, ","), "utf-16-be")),
        "csv, spaces around the names": (
            "q.csv",
            text(table(rows, ",").replace("query,label", "query , label")),
        ),
        "csv, spaces after the text": ("q.csv", text(table(rows, ",").replace(",cloud", ", Cloud "))),
        "csv, lines as on old Macs": ("q.csv", text(table(rows, ",").replace("\n", "\r"))),
        "csv, trailing comma": ("q.csv", text(with_trailing(rows, ","))),
        "csv, trailing commas": ("q.csv", text(with_trailing(rows, ",,,"))),
        "csv, empty lines": (
            "q.csv",
            text(table(rows, ",").replace("\n", "\n\n,,\n", 1)),
        ),
        "tsv": ("q.tsv", text(table(rows, "\t"))),
        "tsv, UTF-16, as spreadsheets export it": ("q.tsv", text(table(rows, "\t", "\r\n"), "utf-16")),
        "parquet": ("q.parquet", parquet(rows)),
        "feather": ("q.feather", feather(rows)),
    }
