"""The TOML file of a recipe, read strictly: unknown keys, wrong types and values out of range are errors."""

import math
import tomllib
from dataclasses import MISSING, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pointsman.errors import SettingsError
from pointsman.labels import checked_target
from pointsman.train.recipe import (
    LEAST,
    SHARES,
    FollowUps,
    Loss,
    Outcomes,
    Recipe,
    Rule,
    Schedule,
    Student,
    Target,
    WordExpertSettings,
)

_T = TypeVar("_T")


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        SettingsError: unreadable, an unknown key (the nearest known one is named), or a wrong type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"recipe {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"recipe {path} is not TOML: {error}.") from None
    known = {field.name for field in fields(Recipe)} - {"directory"}
    _refuse_unknown(table, known, str(path))
    return Recipe(
        name=_typed(table.get("name", path.stem), str, f"{path}: name"),
        seed=_typed(table.get("seed", 0), int, f"{path}: seed"),
        student=_part(Student, table.get("student", {}), f"{path}: student"),
        schedule=_part(Schedule, table.get("schedule", {}), f"{path}: schedule"),
        loss=_part(Loss, table.get("loss", {}), f"{path}: loss"),
        outcomes=tuple(_part(Outcomes, t, f"{path}: outcomes") for t in table.get("outcomes", [])),
        rules=tuple(_rule(t, f"{path}: rules") for t in table.get("rules", [])),
        directory=path.resolve().parent,
        everyday_validation_share=_typed(
            table.get("everyday_validation_share", 0.03), float, f"{path}: everyday_validation_share"
        ),
        target=_part(Target, table.get("target", {}), f"{path}: target"),
        followups=_part(FollowUps, table.get("followups", {}), f"{path}: followups"),
        word_experts=_part(WordExpertSettings, table.get("word_experts", {}), f"{path}: word_experts"),
    )


def _rule(table: Any, where: str) -> Rule:
    rule = _part(Rule, table, where)
    if rule.label:
        checked_target(rule.label, f"{where}: label")
    numbers = [part for part in rule.part if isinstance(part, int | float) and not isinstance(part, bool)]
    if len(rule.part) != 2 or len(numbers) != 2 or not 0.0 <= numbers[0] < numbers[1] <= 1.0:
        raise SettingsError(f"{where}: part: expected [from, to] within 0..1, found {list(rule.part)!r}.")
    return rule


def _part(kind: type[_T], table: Any, where: str) -> _T:
    if not isinstance(table, dict):
        raise SettingsError(f"{where}: expected a table, found {table!r}.")
    defaults = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    _refuse_unknown(table, set(defaults), where)
    values: dict[str, Any] = {}
    for name, value in table.items():
        default = defaults[name]
        if isinstance(default, tuple):
            values[name] = tuple(_typed(value, list, f"{where}: {name}"))
        else:  # a key without a default is a text
            wanted = str if default is MISSING else type(default)
            values[name] = _typed(value, wanted, f"{where}: {name}")
        if name in LEAST and values[name] < LEAST[name]:
            raise SettingsError(f"{where}: {name}: expected at least {LEAST[name]:g}, found {value!r}.")
        if name in SHARES and not 0.0 <= values[name] <= 1.0:
            raise SettingsError(f"{where}: {name}: expected 0 to 1, found {value!r}.")
    try:
        return kind(**values)
    except (TypeError, SettingsError) as error:
        raise SettingsError(f"{where}: {error}.") from None


def _typed(value: Any, kind: type[_T], where: str) -> _T:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)  # type: ignore[return-value]
    is_number = not isinstance(value, float) or math.isfinite(value)
    if not isinstance(value, kind) or not is_number or (kind is int and isinstance(value, bool)):
        raise SettingsError(f"{where}: expected {kind.__name__}, found {value!r}.")
    return value


def _refuse_unknown(table: dict[str, Any], known: set[str], where: str) -> None:
    for name in table:
        if name not in known:
            near = get_close_matches(name, sorted(known), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"{where}: unknown key {name!r} (known: {', '.join(sorted(known))}).{hint}")
