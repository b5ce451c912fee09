"""Whether every file of a package can be read as what it is."""

import json
import re
from pathlib import Path

import yaml


def check_files(output: Path, names: list[str]) -> None:
    """Exactly these files, no placeholder left in a text, and valid JSON and YAML."""
    assert names == sorted(p.relative_to(output).as_posix() for p in output.rglob("*") if p.is_file())
    assert "README.md" in names
    for path in output.rglob("*"):
        if path.is_file() and path.suffix in {
            ".md",
            ".yml",
            ".yaml",
            ".json",
            ".mjs",
            ".js",
            ".py",
            ".pbtxt",
            ".c",
            ".cpp",
            ".java",
            ".cs",
            ".csproj",
            ".rs",
            ".toml",
        }:
            text = path.read_text(encoding="utf-8")
            if "app/" not in path.as_posix() and "code/pointsman" not in path.as_posix():
                assert not re.search(r"@@\{?[a-z]", text), path
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        if path.suffix in (".yml", ".yaml"):
            assert all(isinstance(one, dict) for one in yaml.safe_load_all(path.read_text(encoding="utf-8")))
