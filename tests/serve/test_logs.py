"""Lines of the log: when they are written, and what becomes of those that cannot be."""

import asyncio
import contextlib
import io
import json
import logging
import os
import sys
from pathlib import Path

import httpx
import pytest
from tests.support.running import Process

from pointsman.serve.logs import JsonFormatter, LineHandler, Tally


class Stream(io.StringIO):
    """Keeps every write by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def logger(stream: io.StringIO) -> logging.Logger:
    logger = logging.Logger("pointsman.serve")
    handler = LineHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    return logger


def test_lines_of_one_moment_are_written_together(logger: logging.Logger, stream: Stream) -> None:
    for name in ["a", "b", "c"]:
        logger.info(name, extra={"facts": {"n": 1}})
    logger.handlers[0].flush()
    lines = [json.loads(line) for line in "".join(stream.writes).splitlines()]
    assert [line["event"] for line in lines] == ["a", "b", "c"]
    assert all(line["n"] == 1 and line["time"].endswith("Z") for line in lines)
    assert len(stream.writes) <= 2


def test_a_stream_that_is_closed_loses_lines_and_nothing_else(logger: logging.Logger) -> None:
    handler = logger.handlers[0]
    assert isinstance(handler, LineHandler)
    closed = io.StringIO()
    closed.close()
    handler._stream = closed
    logger.info("lost")
    handler.flush()
    open_again = Stream()
    handler._stream = open_again
    logger.info("kept")
    handler.flush()
    assert json.loads(open_again.writes[0])["event"] == "kept"
    assert handler.dropped == 1


def test_a_reader_that_stops_costs_lines_which_are_counted() -> None:
    reading, writing = os.pipe()
    n, most = 20_000, 50_000
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as writer:
        handler = LineHandler(writer, most)
        handler.setFormatter(JsonFormatter())
        logger = logging.Logger("pointsman.serve")
        logger.addHandler(handler)
        for index in range(n):
            logger.info("line", extra={"facts": {"n": index}})
        assert handler.dropped > n / 2
        # What is there is in order, and the rest is counted. Lines go missing wherever the thread was behind.
        kept, told, last = 0, 0, -1
        while kept + told < n:
            line = json.loads(reader.readline())
            if line["event"] == "lines_dropped":
                told = line["lines"]
            else:
                assert line["n"] > last
                kept, last = kept + 1, line["n"]
        assert told == handler.dropped


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_log_reader_that_stops_stops_neither_serving_nor_the_end(artifact: Path) -> None:
    """Standard error is a pipe that is never read, and full before the process starts."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb") as log:
        gateway = Process(artifact, log, "--log-level", "debug")
        with httpx.Client(base_url=gateway.url, timeout=60) as client:
            for index in range(100):
                assert client.post("/predict", json={"query": f"plan {index}"}).status_code == 200
                assert client.get("/livez").status_code == 200
        assert gateway.stop() == 0


def test_who_is_turned_away_shares_a_line(caplog: pytest.LogCaptureFixture) -> None:
    async def flood() -> None:
        tally = Tally()
        for _ in range(50):
            tally.add("overloaded")
        tally.add("rate_limited")
        tally.tell()
        tally.tell()

    with caplog.at_level(logging.INFO, "pointsman.serve"):
        asyncio.run(flood())
    assert [record.facts for record in caplog.records] == [{"overloaded": 50, "rate_limited": 1}]  # type: ignore[attr-defined]
