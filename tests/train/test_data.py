import csv
import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest

from pointsman.artifact.manifest import Chat
from pointsman.datasets.duplicates import hash_fraction, near_duplicate_key
from pointsman.datasets.reading import read_rows
from pointsman.datasets.rows import COLUMNS, Columns
from pointsman.errors import DataError
from pointsman.train.data import (
    ReadReport,
    files_of,
    read_examples,
    read_rule,
)
from pointsman.train.recipe import Loss as LossWeights
from pointsman.train.recipe import Outcomes, Recipe, Rule, Schedule, Student
from pointsman.train.split import load_split


def write_lines(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_same_rows_come_from_jsonl_gzip_csv_and_parquet(tmp_path):
    rows = [{"query": "Hello", "label": "local"}, {"query": "Prove it", "label": "cloud"}]
    plain = write_lines(tmp_path / "a.jsonl", rows)
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    table = tmp_path / "c.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["query", "label"])
        writer.writeheader()
        writer.writerows(rows)
    columns = tmp_path / "d.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), columns)
    for path in (plain, packed, table, columns):
        assert [row.values for row in read_rows(path, COLUMNS, [])] == rows, path


def test_a_chat_is_read_as_the_gateway_reads_it(tmp_path):
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "answer"},
        {"role": "user", "content": [{"type": "text", "text": "second"}]},
    ]
    path = write_lines(
        tmp_path / "q.jsonl",
        [{"messages": messages, "label": "local"}, {"query": "plain", "label": "cloud"}, {"messages": ["x"]}],
    )
    report = ReadReport()
    assert [e.query for e in read_examples([path], report)] == ["second", "plain"]
    assert report.bad == ["q.jsonl:3: no value in column 'query'"]
    assert read_examples([path], ReadReport(), Columns(chat=Chat(1)))[0].query == "first\nsecond"


def test_a_csv_row_is_named_by_its_line(tmp_path):
    path = tmp_path / "q.csv"
    path.write_text("query,label\nhi,local\nprove,maybe\nderive,cloud\n", encoding="utf-8")
    report = ReadReport()
    assert len(read_examples([path], report)) == 2
    assert len(report.bad) == 1
    assert report.bad[0].startswith("q.csv:3: label: expected local or cloud, found 'maybe'")
    assert report.rows == {"q.csv": 2}


def test_lines_that_are_not_objects_are_reported(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"query": "a", "label": "local"}\n{broken\n\n[1]\n{"query": "b", "label": "cloud"}\n')
    report = ReadReport()
    assert len(read_examples([path], report)) == 2
    assert [bad.split(": ", 2)[:2] for bad in report.bad] == [
        ["q.jsonl:2", "not JSON"],
        ["q.jsonl:4", "expected a JSON object, found list"],
    ]


def test_one_query_with_several_outcomes_is_one_example_with_their_mean(tmp_path):
    rows = [
        {"query": "same", "label": "cloud"},
        {"query": "same ", "label": "local"},
        {"query": "other", "label": "cloud"},
        {"query": "third", "label": "local"},
    ]
    examples = read_examples([write_lines(tmp_path / "q.jsonl", rows)], ReadReport())
    assert {e.query: e.p_cloud for e in examples} == {"same": 0.5, "other": 1.0, "third": 0.0}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no usable row"),
        ([{"query": "a"}, {"label": "cloud"}], "no column 'label'"),
        ([{"query": "a", "label": "cloud"}, {"query": "b", "label": "cloud"}], "same label"),
    ],
)
def test_unusable_data_is_refused(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read_examples([write_lines(tmp_path / "q.jsonl", rows)], ReadReport())


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        read_examples([tmp_path / "none.jsonl"], ReadReport())
    (tmp_path / "bad.csv").write_bytes(b"query,label\n\xff\xfe,local\n")
    with pytest.raises(DataError, match=r"bad\.csv:2: not UTF-8"):
        read_examples([tmp_path / "bad.csv"], ReadReport())
    (tmp_path / "bad.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match="cannot be read"):
        read_examples([tmp_path / "bad.jsonl.gz"], ReadReport())
    with pytest.raises(DataError, match="no file matches"):
        files_of("*.csv.none", tmp_path)


def test_a_parquet_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR0")
    with pytest.raises(DataError, match=r"bad\.parquet is not a whole parquet file"):
        read_examples([tmp_path / "bad.parquet"], ReadReport())


def test_near_duplicates_share_a_key():
    assert near_duplicate_key("What's  5 + 3?") == near_duplicate_key("whats 5+3")
    assert near_duplicate_key("What is 5?") != near_duplicate_key("What is 6?")
    assert near_duplicate_key("写一首诗。") == near_duplicate_key("写一首诗")
    assert len({near_duplicate_key(q) for q in ("写一首诗", "写一篇文章", "Напиши стих", ":)", "???")}) == 5


def test_the_split_of_a_text_depends_on_the_text_alone():
    shares = [hash_fraction(f"text {i}", "validation") for i in range(2000)]
    assert shares == [hash_fraction(f"text {i}", "validation") for i in range(2000)]
    assert 0.45 < sum(shares) / len(shares) < 0.55
    assert all(0.0 <= share < 1.0 for share in shares)


def recipe_in(directory: Path, **changes: object) -> Recipe:
    values: dict[str, object] = {
        "name": "r",
        "seed": 3,
        "student": Student(),
        "schedule": Schedule(),
        "loss": LossWeights(),
        "outcomes": (Outcomes(files="routing/*.jsonl", validation_share=0.3),),
        "rules": (),
        "directory": directory,
    }
    return Recipe(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "routing").mkdir()
    outcomes = [
        {"query": f"question {i}", "weak_score": i % 2, "strong_score": 1, "source": "exam"}
        for i in range(60)
    ]
    write_lines(tmp_path / "routing" / "exam.jsonl", outcomes)
    kinds = ["chit-chat", "expert"]
    everyday = [{"query": f"say {i}", "source": f"s{i % 3}", "kind": kinds[i % 2]} for i in range(60)]
    write_lines(tmp_path / "texts.jsonl", everyday)
    return tmp_path


def test_near_duplicates_stay_on_one_side(data):
    write_lines(
        data / "routing" / "again.jsonl",
        [{"query": f"Question: {i}?", "label": "local"} for i in range(60)]
        + [{"query": f"question  {i}!", "label": "cloud"} for i in range(60)],
    )
    split = load_split(recipe_in(data), data)
    assert split.train
    assert split.validation
    keys = {near_duplicate_key(e.query) for e in split.validation}
    assert not [e for e in split.train if near_duplicate_key(e.query) in keys]


def test_a_text_that_would_leak_is_left_out_and_counted(data):
    rules = (Rule(files="texts.jsonl", label="local"),)
    outcomes = data / "routing" / "exam.jsonl"
    write_lines(data / "texts.jsonl", [{"query": f"question, {i}", "source": "s"} for i in range(60)])
    split = load_split(recipe_in(data, rules=rules, everyday_validation_share=0.0), data)
    held = {near_duplicate_key(e.query) for e in split.validation}
    assert outcomes.is_file()
    assert split.report.leaked == len(held) > 0


def test_a_rule_keeps_what_it_says(data):
    rules = (
        Rule(files="texts.jsonl", label="local", kinds=("chit-chat",), hold_out=("s1",), repeat=2),
        Rule(files="texts.jsonl", label="cloud", sources=("s2",), kinds=("expert",), rows=4),
        Rule(files="texts.jsonl", kinds=("expert",), min_chars=6, max_chars=6),
    )
    split = load_split(recipe_in(data, rules=rules, everyday_validation_share=0.0), data)
    ruled = [e for e in split.train if not e.is_measured]
    local = [e for e in ruled if e.p_cloud is not None and e.p_cloud < 0.5]
    cloud = [e for e in ruled if e.p_cloud is not None and e.p_cloud > 0.5]
    bare = [e for e in ruled if e.p_cloud is None]
    assert len(local) == 2 * len({e.query for e in local})
    assert {e.source for e in local} == {"s0", "s2"}
    assert len(cloud) == 4
    assert {e.source for e in cloud} == {"s2"}
    assert bare
    assert {len(e.query) for e in bare} == {6}
    assert split == load_split(recipe_in(data, rules=rules, everyday_validation_share=0.0), data)


def test_the_parts_of_a_rule_share_no_near_duplicate(data):
    texts = [{"query": f"say {i}{end}", "source": "s"} for i in range(200) for end in ("", "!", " ...")]
    write_lines(data / "texts.jsonl", texts)

    def read(part: tuple[float, float]) -> list[str]:
        rule = Rule(files="texts.jsonl", label="local", part=part)
        return [e.query for e in read_rule(rule, data, recipe_in(data), ReadReport(), COLUMNS)]

    first, second = read((0.0, 0.4)), read((0.4, 1.0))
    assert len(first) + len(second) == len(texts)
    assert 0.3 < len(first) / len(texts) < 0.5
    assert not {near_duplicate_key(q) for q in first} & {near_duplicate_key(q) for q in second}


def test_outcomes_are_repeated_in_training_alone(data):
    once = load_split(recipe_in(data), data)
    again = (Outcomes(files="routing/*.jsonl", validation_share=0.3, repeat=3),)
    thrice = load_split(recipe_in(data, outcomes=again), data)
    assert sorted(e.query for e in thrice.train) == sorted(3 * [e.query for e in once.train])
    assert thrice.validation == once.validation


def test_own_files_lie_beside_the_recipe_and_carry_their_labels(data, tmp_path_factory):
    beside = tmp_path_factory.mktemp("recipes")
    write_lines(
        beside / "own.jsonl", [{"query": "hi", "label": "local"}, {"query": "prove", "label": "cloud"}]
    )
    rules = (Rule(files="own.jsonl", own=True),)
    split = load_split(recipe_in(beside, rules=rules, everyday_validation_share=0.0), data)
    own = {e.query: e.p_cloud for e in split.train if not e.is_measured}
    assert own == {"hi": pytest.approx(0.02), "prove": pytest.approx(0.98)}
