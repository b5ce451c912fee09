from pathlib import Path

import pytest

from pointsman.errors import SettingsError
from pointsman.train.recipe_loader import load_recipe

TEXT = """
name = "mine"
seed = 4
[student]
depth = 2
[schedule]
epochs = 1
[[outcomes]]
files = "*.jsonl"
[[rules]]
files = "chat.jsonl"
label = "local"
kinds = ["chit-chat"]
"""


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_is_read_with_its_defaults(tmp_path):
    recipe = load_recipe(written(tmp_path / "r.toml", TEXT))
    assert (recipe.name, recipe.seed, recipe.student.depth) == ("mine", 4, 2)
    assert recipe.schedule.epochs == 1.0
    assert recipe.rules[0].kinds == ("chit-chat",)
    assert recipe.directory == tmp_path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT.replace("epochs", "epoch"), "unknown key 'epoch'.*Did you mean 'epochs'"),
        (TEXT.replace("seed", "sede"), "Did you mean 'seed'"),
        (TEXT.replace("depth = 2", 'depth = "2"'), "student: depth: expected int"),
        (TEXT.replace("depth = 2", "depth = true"), "student: depth: expected int"),
        (TEXT.replace('label = "local"', 'label = "lokal"'), "expected 'local' or 'cloud'"),
        (TEXT.replace("depth = 2", "depth = 0"), "depth: expected at least 1"),
        (TEXT.replace("epochs = 1", "warmup_share = 2.0"), "warmup_share: expected 0 to 1"),
        (TEXT.replace("epochs = 1", "warmup_share = nan"), "warmup_share: expected float, found nan"),
        (TEXT.replace("epochs = 1", "learning_rate = inf"), "learning_rate: expected float, found inf"),
        (TEXT.replace('files = "*.jsonl"', 'files = "*.jsonl"\nrepeat = 0'), "repeat: expected at least 1"),
        (TEXT.replace('["chit-chat"]', '"chit-chat"'), "kinds: expected list"),
        (TEXT + "part = [0.5]", r"part: expected \[from, to\]"),
        (TEXT + "part = [0.5, 0.5]", "part: expected"),
        (TEXT + "part = [0.5, 1.5]", "part: expected"),
        (TEXT + 'part = ["0", "1"]', "part: expected"),
        (TEXT.replace("[student]", "[student"), "not TOML"),
        (TEXT.replace('files = "*.jsonl"', ""), "files"),
    ],
)
def test_what_is_not_understood_is_an_error_that_names_it(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message):
        load_recipe(written(tmp_path / "r.toml", text))


def test_a_recipe_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["default-router-first", "default-router", "default-router-third"])
def test_the_default_routers_recipes_are_understood(name):
    recipe = load_recipe(Path(__file__).parents[2] / "recipes" / f"{name}.toml")
    assert recipe.name == name
    assert recipe.outcomes
    assert {rule.label for rule in recipe.rules} >= {"local", "cloud"}
