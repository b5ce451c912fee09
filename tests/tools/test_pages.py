import pytest
from tools.__main__ import pages
from tools.pages import filled

from pointsman.errors import DataError


def test_the_documented_tables_are_the_programs_own() -> None:
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: write it again: python -m tools"


def test_what_stands_between_the_marks_is_replaced_and_nothing_else() -> None:
    page = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n"
    once = filled(page, {"x": "new"})
    assert once == "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n"
    assert filled(once, {"x": "new"}) == once


@pytest.mark.parametrize("page", ["", "<!-- x -->\n", "<!-- /x -->\n", "<!-- x --><!-- /x -->"])
def test_a_page_without_the_place_is_refused(page: str) -> None:
    with pytest.raises(DataError, match="no place for 'x'"):
        filled(page, {"x": "new"})
