"""Lines of the log: when they are written, and what becomes of those that cannot be."""

import asyncio
import io
import json
import logging

import pytest

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


def test_the_lines_of_a_turn_are_written_together(logger: logging.Logger, stream: Stream) -> None:
    async def turns() -> None:
        for names in (["a", "b"], ["c"]):
            for name in names:
                logger.info(name, extra={"facts": {"n": 1}})
            assert "".join(stream.writes).count(names[0]) == 0
            await asyncio.sleep(0)

    asyncio.run(turns())
    lines = [[json.loads(line) for line in text.splitlines()] for text in stream.writes]
    assert [[line["event"] for line in text] for text in lines] == [["a", "b"], ["c"]]
    assert all(line["n"] == 1 and line["time"].endswith("Z") for text in lines for line in text)


def test_outside_of_a_loop_a_line_is_written_at_once(logger: logging.Logger, stream: Stream) -> None:
    logger.warning("now")
    assert json.loads(stream.writes[0])["level"] == "warning"


def test_a_stream_that_is_closed_loses_lines_and_nothing_else(logger: logging.Logger) -> None:
    handler = logger.handlers[0]
    assert isinstance(handler, LineHandler)
    closed = io.StringIO()
    closed.close()
    handler._stream = closed
    logger.info("lost")
    open_again = Stream()
    handler._stream = open_again
    logger.info("kept")
    assert [json.loads(text)["event"] for text in open_again.writes] == ["kept"]


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
