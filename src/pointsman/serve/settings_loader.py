"""Settings from where an operator says them: flags, environment, `.env`, one TOML file; the first wins.

A variable is `POINTSMAN_<TABLE>__<KEY>`, for example `POINTSMAN_UPSTREAMS__CLOUD__API_KEY`. This file knows
places and precedence, and nothing of what a key means.
"""

import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from pointsman.artifact.strict_json import parse_strict
from pointsman.errors import SettingsError
from pointsman.serve.settings import GatewaySettings, Rule
from pointsman.settings import CLOUD_THRESHOLD, SAFE_TARGET, THREADS, effective_environment

PREFIX = "POINTSMAN_"
_SHARED = {CLOUD_THRESHOLD, SAFE_TARGET, THREADS}
"""Names that the whole package reads, not only the gateway."""

Tree = dict[str, Any]
_KINDS = {str: "a text", bool: "true or false", list: "a list", dict: "a table", type(None): "nothing"}
"""What is told of a value that may be a secret; a number or a date is none."""


def load_settings(
    flags: Mapping[str, Any] | None = None,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> GatewaySettings:
    """The effective settings.

    Args:
        flags: a tree of what the command line said; None values were not given.
        config: a TOML file.
        environ: the environment with `.env`; None reads both.

    Raises:
        SettingsError: a file that cannot be read, an unknown key (the nearest is named), a bad value.
    """
    environ = effective_environment() if environ is None else environ
    merged: Tree = {}
    for layer in (_from_toml(config), _from_environment(environ), _given(flags or {})):
        _merge(merged, layer)
    try:
        return GatewaySettings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError("\n".join(_problem(item) for item in error.errors())) from None


def known_keys(model: type[BaseModel] = GatewaySettings, prefix: str = "") -> dict[str, Any]:
    """Dotted key to its pydantic field, for every key that can be set; tables are opened."""
    keys: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        table = _table(field.annotation)
        if table is None:
            keys[prefix + name] = field
        else:
            keys |= known_keys(table, f"{prefix}{name}.")
    return keys


def masked(settings: GatewaySettings) -> str:
    """The effective settings as TOML-like lines, with secrets masked."""
    lines = []
    for key, value in _flat(settings.model_dump(mode="json")):
        lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines)


def _flat(tree: Tree, prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            flat += _flat(value, f"{prefix}{key}.")
        else:
            flat.append((prefix + key, value))
    return flat


def _table(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            # A tuple of tables (the rules) is one key: only a plain or optional table is opened.
            return candidate if get_args(annotation)[1:] in ((), (type(None),)) else None
    return None


def _from_toml(path: Path | None) -> Tree:
    if path is None:
        return {}
    try:
        # Editors of Windows begin a file with a mark of its encoding.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"--config {path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {path} is not TOML: {error}.") from None


def _from_environment(environ: Mapping[str, str]) -> Tree:
    keys = known_keys()
    tree: Tree = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name in _SHARED:
            continue
        path = name.removeprefix(PREFIX).lower().replace("__", ".")
        if path not in keys:
            known = [PREFIX + key.upper().replace(".", "__") for key in keys]
            raise SettingsError(f"{name}: not a setting.{_nearest(name, known)}")
        _put(tree, path.split("."), _value(text, name))
    return tree


def _value(text: str, name: str) -> Any:
    """A string, or what its JSON says where it is a list or a table; `none` clears an optional value."""
    stripped = text.strip()
    if stripped.lower() == "none":
        return None
    if stripped[:1] not in ("[", "{"):
        return stripped
    try:
        return parse_strict(stripped)
    except ValueError as error:
        raise SettingsError(f"{name}: starts like JSON, but is not: {error}.") from None


def _put(tree: Tree, path: list[str], value: Any) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


def _given(flags: Mapping[str, Any]) -> Tree:
    given: Tree = {}
    for key, value in flags.items():
        if isinstance(value, Mapping):
            value = _given(value)
            if value:
                given[key] = value
        elif value is not None:
            given[key] = value
    return given


def _merge(onto: Tree, layer: Tree) -> None:
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(onto.get(key), dict):
            _merge(onto[key], value)
        else:
            onto[key] = value


def _problem(item: Any) -> str:
    """One line for one validation error; the value itself is not shown, it may be a secret."""
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        table = list(item["loc"][:-1])
        in_rule = table[:2] == ["routing", "rules"]
        known = (
            [".".join(map(str, (*table, key))) for key in Rule.model_fields] if in_rule else [*known_keys()]
        )
        return f"{where}: not a setting.{_nearest(where, known)}"
    said = item["msg"].removeprefix("Value error, ")
    if item["type"] not in ("value_error", "missing"):
        said = (
            said.partition(", unable")[0].partition(" or instance")[0].replace("Input should be", "expected")
        )
        for theirs, ours in (("dictionary", "table"), ("tuple", "list"), ("string", "text")):
            said = said.replace(f"valid {theirs}", ours)
        said = said.replace("String should match pattern", "expected a text like")
        value = item["input"]
        said += f"; found {_KINDS.get(type(value)) or str(value)[:40]}"
    return f"{where or 'settings'}: {said}."


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else f" Known: {', '.join(sorted(known)[:8])}, …"
