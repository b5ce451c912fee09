import argparse
import json

import pytest
from tests.support.keyword_artifact import build_keyword_artifact

from pointsman.cli import calibrate, evaluate
from pointsman.errors import DataError, PointsmanError, SettingsError

pytest.importorskip("onnx")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

RECIPE = """
name = "r"
[[outcomes]]
files = "train/*.jsonl"
[[rules]]
files = "chat.jsonl"
label = "local"
"""


def run(*words):
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return evaluate.run(parser.parse_args([str(word) for word in words]))


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def artifact(tmp_path):
    return build_keyword_artifact(tmp_path / "artifact").path


@pytest.fixture
def test_file(tmp_path):
    easy = [{"query": f"hello the {i}", "weak_score": 1, "strong_score": 1} for i in range(20)]
    hard = [{"query": f"analyze plan {i}", "weak_score": 0, "strong_score": 1} for i in range(20)]
    return write(tmp_path / "mine.jsonl", easy + hard)


def test_rows_that_the_judge_weighed_speak_for_the_log(artifact, test_file, tmp_path, capsys):
    rows = [json.loads(line) for line in test_file.read_text().splitlines()]
    rows = [{**row, "weight": 1.0 + at % 4, "judgement": {"by": "judge"}} for at, row in enumerate(rows)]
    told = {}
    for name, kept in (
        ("weighed", rows),
        ("repeated", [{**row, "weight": 1.0} for row in rows for _ in range(int(row["weight"]))]),
    ):
        path, output = write(tmp_path / name / "mine.jsonl", kept), tmp_path / f"{name}-report"
        assert run(artifact, "--test", path, "--output", output, "--resamples", 5, "--edits", 0) == 0
        found = json.loads((output / "evaluation.json").read_text(encoding="utf-8"))
        part = found["sets"]["mine"]
        figures = {**part["ranking"]["query length"]["figures"], **part["decisions"]["figures"]}
        told[name] = {key: one["value"] for key, one in figures.items()}
        told[name] |= {"better": part["cloud_is_better"]}
        told[name] |= {"kind": found["kinds"]["measured"]["calibration_error"]["value"]}
        notes = " ".join(found["notes"])
        assert ("40 rows count as 100 queries" in notes) == (name == "weighed")
    assert told["weighed"] == pytest.approx(told["repeated"])


def test_a_report_of_my_own_file(artifact, test_file, tmp_path, capsys):
    output = tmp_path / "report"
    assert run(artifact, "--test", test_file, "--output", output, "--resamples", 20, "--edits", 30) == 0
    assert str(output / "README.md") in capsys.readouterr().out
    found = json.loads((output / "evaluation.json").read_text(encoding="utf-8"))
    ranking = found["sets"]["mine"]["ranking"]
    assert set(ranking) == {"router", "random", "query length"}
    assert ranking["router"]["figures"]["auc"]["value"] == 1.0
    assert found["sets"]["mine"]["decisions"]["figures"]["accuracy"]["value"] == 1.0
    assert found["flips"]["queries"] == 30
    for plot in ("cost-quality.png", "reliability.png"):
        assert (output / plot).read_bytes()[:4] == b"\x89PNG"


def test_another_router_stands_beside_it_with_the_difference_on_the_same_rows(artifact, test_file, tmp_path):
    other = build_keyword_artifact(tmp_path / "other").path
    words = ["--test", test_file, "--resamples", 20, "--edits", 0, "--no-plots", "--output", tmp_path / "r"]
    run(artifact, *words, "--compare", f"the other one={other}")
    found = json.loads((tmp_path / "r" / "evaluation.json").read_text(encoding="utf-8"))
    assert "the other one" in found["sets"]["pooled"]["ranking"]
    assert found["differences"]["the other one"]["value"] == 0.0
    assert "router − the other one" in (tmp_path / "r" / "README.md").read_text(encoding="utf-8")
    with pytest.raises(PointsmanError, match="nowhere"):
        run(artifact, *words, "--compare", f"x={tmp_path / 'nowhere'}")


def test_another_threshold_is_another_decision(artifact, test_file, tmp_path):
    words = [artifact, "--test", test_file, "--resamples", 5, "--edits", 0, "--no-plots"]
    run(*words, "--output", tmp_path / "r", "--cloud-threshold", 0.0)
    found = json.loads((tmp_path / "r" / "evaluation.json").read_text(encoding="utf-8"))
    assert found["sets"]["mine"]["decisions"]["figures"]["cloud_share"]["value"] == 1.0
    assert not (tmp_path / "r" / "reliability.png").exists()


def test_a_suite_leaves_out_what_was_trained_on(artifact, tmp_path):
    data = tmp_path / "data"
    scored = [{"query": f"plan the {i}", "weak_score": i % 2, "strong_score": 1} for i in range(40)]
    write(data / "train" / "x.jsonl", scored)
    write(data / "chat.jsonl", [{"query": "Hello!"}])
    write(
        data / "test" / "x.jsonl",
        [{"query": "play 1", "label": "local"}, {"query": "plan", "label": "cloud"}],
    )
    write(data / "everyday.jsonl", [{"query": "hello"}, {"query": "thanks a"}])
    recipe, suite = tmp_path / "recipe.toml", tmp_path / "suite.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    suite.write_text(
        RECIPE.replace("train/", "test/").replace("chat.jsonl", "everyday.jsonl"), encoding="utf-8"
    )
    report = tmp_path / "r"
    words = ["--suite", suite, "--data", data, "--output", report, "--resamples", 5, "--edits", 4]
    run(artifact, *words)
    assert json.loads((report / "evaluation.json").read_text())["everyday"][0]["rows"] == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pointsman.train.evaluate._others", lambda *arguments: {})
        run(artifact, *words, "--recipe", recipe)
    found = json.loads((report / "evaluation.json").read_text())
    assert found["everyday"][0]["rows"] == 1
    assert found["everyday"][0]["source"] == "unseen"
    assert "1 texts of the slices" in found["notes"][-1]
    assert [found["kinds"][kind]["rows"] for kind in ("measured", "everyday", "both")] == [2, 1, 3]


def test_every_baseline_stands_in_the_report(artifact, tmp_path):
    data = tmp_path / "data"
    for name, word in (("a", "plan"), ("b", "design")):
        rows = [
            {
                "query": f"{word if hard else 'play'} the room {i}",
                "weak_score": float(not hard),
                "strong_score": 1,
                "source": f"{name} task {i % 2}",
            }
            for i, hard in enumerate([True, False] * 15)
        ]
        write(data / "train" / f"{name}.jsonl", rows)
        write(data / "test" / f"{name}.jsonl", [{**row, "query": f"now {row['query']}"} for row in rows[:6]])
    recipe, suite = tmp_path / "recipe.toml", tmp_path / "suite.toml"
    outcomes = '[[outcomes]]\nfiles = "train/*.jsonl"\nvalidation_share = 0.0\n'
    recipe.write_text(f'name = "r"\n{outcomes}', encoding="utf-8")
    suite.write_text(f'name = "s"\n{outcomes.replace("train/", "test/")}', encoding="utf-8")
    report = tmp_path / "r"
    words = [
        "--suite",
        suite,
        "--data",
        data,
        "--output",
        report,
        "--resamples",
        5,
        "--edits",
        0,
        "--no-plots",
    ]
    run(artifact, *words, "--recipe", recipe)
    found = json.loads((report / "evaluation.json").read_text(encoding="utf-8"))
    baselines = {"word ridge on the gain", "MiniLM, 50 nearest", "table of subjects", "TF-IDF + LR"}
    assert baselines < set(found["sets"]["pooled"]["ranking"])


@pytest.mark.parametrize("words", [[], ["--test", "a", "--suite", "b"], ["--suite", "b"]])
def test_it_needs_one_thing_to_test_on(artifact, tmp_path, words):
    with pytest.raises(SettingsError):
        run(artifact, *words, "--output", tmp_path / "r")


def test_a_file_of_bad_rows_is_an_error(artifact, tmp_path):
    bad = write(tmp_path / "bad.jsonl", [{"query": "x", "label": "edge"}])
    with pytest.raises(DataError, match=r"bad\.jsonl:1"):
        run(artifact, "--test", bad, "--output", tmp_path / "r")


def test_too_few_rows_are_refused(artifact, tmp_path):
    few = write(tmp_path / "few.jsonl", [{"query": f"plan {i}", "label": "cloud"} for i in range(19)])
    with pytest.raises(DataError, match="at least 20 usable rows to evaluate on, found 19"):
        run(artifact, "--test", few, "--output", tmp_path / "r")


def test_one_label_is_refused(artifact, tmp_path):
    one = write(tmp_path / "one.jsonl", [{"query": f"plan {i}", "label": "cloud"} for i in range(40)])
    with pytest.raises(DataError, match="every row has the same label"):
        run(artifact, "--test", one, "--output", tmp_path / "r")


def test_rows_that_the_router_was_calibrated_on_are_said(artifact, test_file, tmp_path, capsys):
    fitted = tmp_path / "fitted"
    parser = argparse.ArgumentParser()
    calibrate.add_arguments(parser)
    calibrate.run(parser.parse_args([str(artifact), str(test_file), "--output", str(fitted)]))
    quick = ["--resamples", 2, "--edits", 0, "--no-plots"]
    run(fitted, "--test", test_file, "--output", tmp_path / "r", *quick)
    said = "the router was calibrated on about 100% of these rows"
    assert said in capsys.readouterr().err
    assert said in (tmp_path / "r" / "README.md").read_text(encoding="utf-8")
    rows = [
        {"query": f"{w} tree {i}", "label": x}
        for i in range(20)
        for w, x in (("play", "local"), ("plan", "cloud"))
    ]
    run(fitted, "--test", write(tmp_path / "new.jsonl", rows), "--output", tmp_path / "s", *quick)
    assert "calibrated on" not in capsys.readouterr().err
