"""Long bodies are read in threads, and none of them keeps the others waiting."""

import asyncio
import gc
import threading
from collections.abc import Iterator

import pytest

from pointsman.serve.edge.readers import LONG_BYTES, Readers

LIMIT_S = 60.0
LONG = LONG_BYTES + 1


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """What the long work waits for; set at the end, so that no thread outlives the test."""
    event = threading.Event()
    yield event
    event.set()


def test_a_client_that_holds_a_thread_holds_neither_short_bodies_nor_other_clients(
    held: threading.Event,
) -> None:
    async def run() -> None:
        readers, begun = Readers(), threading.Event()

        def work() -> str:
            begun.set()
            assert held.wait(LIMIT_S)
            return "done"

        first = asyncio.create_task(readers.run(LONG, "a", work))
        assert await asyncio.to_thread(begun.wait, LIMIT_S)
        second = asyncio.create_task(readers.run(LONG, "a", lambda: "second"))
        async with asyncio.timeout(LIMIT_S):
            assert await readers.run(1, "a", lambda: "short") == "short"
            assert await readers.run(LONG, "b", lambda: "long") == "long"
            assert not second.done()
            held.set()
            assert [await first, await second] == ["done", "second"]

    asyncio.run(run())


def test_the_turn_of_a_client_that_left_ends_with_its_thread(held: threading.Event) -> None:
    async def run() -> None:
        readers, begun = Readers(), threading.Event()

        def work() -> None:
            begun.set()
            assert held.wait(LIMIT_S)

        first = asyncio.create_task(readers.run(LONG, "a", work))
        assert await asyncio.to_thread(begun.wait, LIMIT_S)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = asyncio.create_task(readers.run(LONG, "a", lambda: "second"))
        async with asyncio.timeout(LIMIT_S):
            assert await readers.run(LONG, "b", lambda: "other") == "other"
            assert not second.done()
            held.set()
            assert await second == "second"

    asyncio.run(run())


def test_a_failure_gives_the_turn_back() -> None:
    async def run() -> None:
        readers = Readers()
        async with asyncio.timeout(LIMIT_S):
            for _ in range(2):
                with pytest.raises(ZeroDivisionError):
                    await readers.run(LONG, "a", lambda: 1 // 0)

    asyncio.run(run())


def test_a_thread_that_outlives_the_loop_ends_without_a_word(
    held: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[threading.Thread] = []

    async def run() -> None:
        begun = threading.Event()

        def work() -> None:
            ended.append(threading.current_thread())
            begun.set()
            assert held.wait(LIMIT_S)

        first = asyncio.create_task(Readers().run(LONG, "a", work))
        assert await asyncio.to_thread(begun.wait, LIMIT_S)
        first.cancel()

    asyncio.run(run())
    held.set()
    gc.collect()  # With the readers, their idle threads end.
    ended[0].join(LIMIT_S)
    assert not ended[0].is_alive()
    assert not caplog.records
