"""Any exception to an answer: where there is no memory, the client may try again."""

import pytest

from pointsman.serve.failures import as_gateway_error


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
def test_no_memory_is_overloaded(error: Exception) -> None:
    assert as_gateway_error(error).code == "overloaded"


@pytest.mark.parametrize("error", [RuntimeError("else"), KeyError("x")])
def test_anything_unexpected_is_an_internal_error_without_details(error: Exception) -> None:
    found = as_gateway_error(error)
    assert (found.code, "else" in found.message) == ("internal_error", False)
