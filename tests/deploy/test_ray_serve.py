"""What needs no Ray; the rest is in tests/targets/test_ray_serve.py."""

import sys
from typing import Any

import pytest

from pointsman.deploy.ray_serve import MAX_TEXTS, app, query_of
from pointsman.errors import InputError, MissingExtraError


@pytest.mark.parametrize("body", [{"query": "a"}, "a"])
def test_one_text(body: Any) -> None:
    assert query_of(body) == "a"


def test_several_texts() -> None:
    assert query_of({"query": ["a", ""]}) == ["a", ""]
    assert query_of(["a"] * MAX_TEXTS) == ["a"] * MAX_TEXTS


@pytest.mark.parametrize("body", [None, 5, {}, {"query": None}, [], ["a", 1], ["a"] * (MAX_TEXTS + 1)])
def test_what_is_no_query(body: Any) -> None:
    with pytest.raises(InputError, match="expected"):
        query_of(body)


def test_without_ray_serve_the_error_is_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pointsman\[ray-serve\]'"):
        app({})
