"""docs/train-your-own.md, followed as written."""

import json
import re
import shlex
from pathlib import Path

import pytest

from pointsman.cli.__main__ import main

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "train-your-own.md"

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.M | re.S)


def test_a_table_of_500_rows_becomes_a_calibrated_router(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for code in blocks("python"):
        exec(compile(code, "train-your-own.md", "exec"), {})
    assert len(Path("queries.csv").read_text().splitlines()) == 351
    for command in "".join(blocks("sh")).splitlines():
        words = shlex.split(command)
        assert words[0] == "pointsman"
        # As written, but for the threads, of which another test beside this one wants some.
        one_thread = ["--threads", "1"] if words[1] == "train" else []
        assert main([*words[1:], *one_thread]) == 0, command
    assert Path("run/curves.png").is_file()
    manifest = json.loads(Path("my-calibrated-router/manifest.json").read_text())
    assert manifest["calibration"]["n"] == 75
    # 75 rows that neither trained nor calibrated; the page evaluated on its calibration rows before.
    report = json.loads(Path("report/evaluation.json").read_text())
    assert report["sets"]["pooled"]["decisions"]["figures"]["accuracy"]["value"] >= 0.8
    assert "badge reader" in capsys.readouterr().out
