"""The pipe: the whole file, once, nothing kept, and no reader can hang it."""

import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.runtime import model_pipe
from pointsman.runtime.model_pipe import readable_once


def content(source: str | bytes) -> bytes:
    return source if isinstance(source, bytes) else Path(source).read_bytes()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=200_000), max_size=5))
def test_the_reader_gets_every_byte_in_order(blocks: list[bytes]) -> None:
    whole, given_up = b"".join(blocks), list(blocks)
    with readable_once(given_up) as source:
        assert content(source) == whole
    assert given_up == []


def test_a_system_without_names_for_open_files_gets_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_pipe, "_OPEN_FILES", "/nowhere")
    with readable_once([b"a", b"b"]) as source:
        assert source == b"ab"


@pytest.mark.parametrize("read", [0, 10])
def test_a_reader_that_stops_halfway_leaves_no_thread_behind(read: int) -> None:
    blocks = [bytes(1 << 20)] * 3
    with pytest.raises(RuntimeError, match="no model"), readable_once(blocks) as source:
        assert isinstance(source, str)
        with Path(source).open("rb", buffering=0) as stream:
            stream.read(read)
        raise RuntimeError("no model")
    assert blocks == []
    assert not [one for one in threading.enumerate() if one.name == "pointsman-model-pipe"]


def test_blocks_are_given_up_while_they_are_read() -> None:
    size, count = 1 << 20, 8
    tracemalloc.start()
    try:
        blocks = [bytes(size) for _ in range(count)]
        with readable_once(blocks) as source:
            assert isinstance(source, str)
            with Path(source).open("rb", buffering=0) as stream:
                for _ in range(count - 1):
                    left = size
                    while left:
                        left -= len(stream.read(left))
                held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 3 * size
