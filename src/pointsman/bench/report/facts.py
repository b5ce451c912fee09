"""What a manifest says about conversion or parity, as tables: nested plain values, no schema of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

from pointsman.bench.report.tables import NONE, Row, Table


def fact_tables(title: str, facts: Mapping[str, Any]) -> tuple[Table, ...]:
    """Tables of nested values.

    A list of mappings becomes a table of its own with their keys as columns, and so does a mapping of
    mappings that all have the same keys; everything else becomes rows of a first table, with dotted names.

    Args:
        title: the first table's title; others add the name of what they show.
        facts: plain values, as JSON holds them.
    """
    single: list[Row] = []
    tables: list[Table] = []
    if facts:
        _collect(title, "", facts, single, tables)
    head = (Table(title, ("", ""), tuple(single), kind="facts"),) if single else ()
    return (*head, *tables)


def _collect(title: str, prefix: str, value: Any, single: list[Row], tables: list[Table]) -> None:
    if _is_grid(value):
        name = f"{title}: {words(prefix)}" if prefix else title
        items = [{"": words(str(key)), **inner} for key, inner in value.items()]
        tables.append(_table(name, items))
    elif isinstance(value, Mapping) and value:
        for key, inner in value.items():
            _collect(title, f"{prefix}.{key}" if prefix else str(key), inner, single, tables)
    elif _is_table(value):
        tables.append(_table(f"{title}: {words(prefix)}", value))
    else:
        single.append(Row((words(prefix), plain(value))))


def _is_grid(value: Any) -> bool:
    """Whether it is a mapping of mappings that all have the same keys and nothing nested."""
    if not isinstance(value, Mapping) or not value:
        return False
    rows = list(value.values())
    if not all(isinstance(row, Mapping) and row and "" not in row for row in rows):
        return False
    flat = all(not isinstance(cell, Mapping | list | tuple) for row in rows for cell in row.values())
    return flat and all(row.keys() == rows[0].keys() for row in rows)


def _is_table(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(item, Mapping) and item for item in value)
    )


def _table(title: str, items: Sequence[Mapping[str, Any]]) -> Table:
    columns = list(dict.fromkeys(key for item in items for key in item))
    rows = tuple(Row(tuple(plain(item.get(key)) for key in columns)) for item in items)
    return Table(title, tuple(words(key) for key in columns), rows, kind="facts")


def words(name: str) -> str:
    """A key as people read it."""
    return name.replace("_", " ").replace(".", " · ")


def plain(value: Any) -> str:
    """A value as people read it: numbers short, yes and no for truth, a dash for nothing."""
    if value is None or value in ("", [], {}):
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{words(str(key))}: {plain(inner)}" for key, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(plain(item) for item in value)
    return str(value)
