from pathlib import Path

from pointsman.serve.reference import TABLES, with_tables

PAGE = Path(__file__).parents[2] / "docs" / "gateway.md"


def test_the_documented_tables_are_the_programs_own() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page, "write it again: PAGE.write_text(with_tables(PAGE.read_text()))"
    for name in TABLES:
        assert page.count(f"<!-- {name} -->") == page.count(f"<!-- /{name} -->") == 1
