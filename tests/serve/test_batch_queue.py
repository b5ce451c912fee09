"""The order in which waiting texts are read, and the thread that reads them."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.serve.failures import GatewayError
from pointsman.serve.inference import batcher as batching
from pointsman.serve.inference.batch_queue import GIVES_WAY_S, GIVES_WAY_SHARE, BatchQueue, Job, QueueItem
from pointsman.serve.inference.batcher import Batcher

T = TypeVar("T")
MOST_TEXTS, MOST_COST = 8, 64

arrivals = st.lists(
    st.tuples(
        st.integers(0, 30),  # milliseconds after the one before
        st.lists(st.integers(1, 128), min_size=1, max_size=6),  # costs
        st.sampled_from("ab"),  # version
    ),
    min_size=1,
    max_size=25,
)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 60))


def job(key: str, costs: list[int], enqueued: float) -> Job[str, str]:
    future: asyncio.Future[list[str]] = asyncio.Future(loop=LOOP)
    return Job(key, ["x" * cost for cost in costs], costs, future, enqueued, enqueued + 1, lambda: True)


LOOP = asyncio.new_event_loop()


def everything(line: BatchQueue[str, str]) -> list[list[QueueItem]]:
    batches = []
    while batch := line.next_batch():
        batches.append(batch)
    return batches


class TestTheLine:
    @given(arrivals)
    def test_every_text_is_read_once_in_bounded_batches_of_one_version(
        self, made: list[tuple[int, list[int], str]]
    ) -> None:
        line: BatchQueue[str, str] = BatchQueue(MOST_TEXTS, MOST_COST)
        jobs, now = [], 0.0
        for after_ms, costs, key in made:
            now += after_ms / 1000
            jobs.append(job(key, costs, now))
            line.add(jobs[-1])
        batches = everything(line)
        read = [(id(place.job), place.position) for batch in batches for place in batch]
        assert sorted(read) == sorted((id(j), i) for j in jobs for i in range(len(j.texts)))
        for batch in batches:
            assert len({place.job.key for place in batch}) == 1
            assert len(batch) <= MOST_TEXTS
            assert len(batch) == 1 or sum(place.cost for place in batch) <= MOST_COST

    @given(arrivals, st.integers(1, 128))
    def test_nobody_is_overtaken_by_what_came_later_than_its_length_allows(
        self, made: list[tuple[int, list[int], str]], cost: int
    ) -> None:
        line: BatchQueue[str, str] = BatchQueue(1, MOST_COST)
        patient, now = job("a", [cost], 0.0), 0.0
        line.add(patient)
        for after_ms, costs, key in made:
            now += after_ms / 1000
            line.add(job(key, costs, now))
        before = []
        for (place,) in everything(line):
            if place.job is patient:
                break
            before.append(place)
        assert all(place.job.enqueued <= GIVES_WAY_S * cost for place in before)

    def test_a_short_text_does_not_wait_for_a_batch_of_long_ones(self) -> None:
        line: BatchQueue[str, str] = BatchQueue(32, 128)
        for _ in range(4):
            line.add(job("a", [128], 0.0))
        short = job("a", [4, 5], 0.01)
        line.add(short)
        first = line.next_batch()
        assert [place.job for place in first] == [short, short]
        assert [len(batch) for batch in everything(line)] == [1, 1, 1, 1]

    @pytest.mark.parametrize(("readers", "sizes"), [(1, [8, 2]), (2, [5, 3, 1, 1]), (4, [3, 2, 2, 1, 1, 1])])
    def test_a_reader_leaves_the_others_their_share(self, readers: int, sizes: list[int]) -> None:
        line: BatchQueue[str, str] = BatchQueue(MOST_TEXTS, MOST_COST, readers)
        line.add(job("a", [4] * 10, 0.0))
        assert [len(batch) for batch in everything(line)] == sizes

    def test_a_long_text_gives_way_for_a_part_of_its_time_only(self) -> None:
        """However long it is, its turn comes before its request expires."""
        line: BatchQueue[str, str] = BatchQueue(1, MOST_COST)
        line.add(job("a", [100_000], 0.0))
        line.add(job("a", [1], 0.9 * GIVES_WAY_SHARE))
        line.add(job("a", [1], 1.1 * GIVES_WAY_SHARE))
        assert [place.cost for (place,) in everything(line)] == [1, 100_000, 1]

    def test_mates_are_the_nearest_in_length(self) -> None:
        line: BatchQueue[str, str] = BatchQueue(3, 128)
        line.add(job("a", [10], 0.0))
        line.add(job("a", [21, 19, 4, 11], 0.1))
        line.add(job("b", [10], 0.2))
        assert [place.cost for place in line.next_batch()] == [10, 11, 4]

    def test_who_turns_to_leave_while_it_is_asked_is_taken_out_or_stays(self) -> None:
        line: BatchQueue[str, str] = BatchQueue(MOST_TEXTS, MOST_COST)
        asked: list[Job[str, str]] = []

        def gone_once_asked(one: Job[str, str]) -> bool:
            # Another thread's connection: it closes right after it was asked.
            asked.append(one)
            return one is going or asked.count(one) > 1

        going, turning = job("a", [3, 4], 0.0), job("a", [5, 6], 0.0)
        line.add(going)
        line.add(turning)
        taken = line.leave(gone_once_asked)
        assert sorted(place.number for place in (*taken, *line.next_batch())) == [1, 2, 3, 4]
        assert {id(place.job) for place in taken} == {id(going)}

    def test_who_leaves_takes_all_its_texts(self) -> None:
        line: BatchQueue[str, str] = BatchQueue(3, 128)
        going, staying = job("a", [10, 20], 0.0), job("a", [10], 0.0)
        line.add(going)
        line.add(staying)
        assert len(line.leave(lambda j: j is going)) == 2
        assert [place.job for batch in everything(line) for place in batch] == [staying]


class Model:
    """Answers a text with itself in capitals; stands still where it is told to.

    Attributes:
        batches: what it was given.
    """

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, key: str, texts: list[str]) -> list[str]:
        self.batches.append(texts)
        assert self.go.wait(60)
        if any("bad" in text for text in texts):
            raise ValueError("bad")
        return [text.upper() for text in texts]

    def batcher(self, **how: Any) -> Batcher[str, str]:
        given = {"max_batch": 8, "max_cost": 64, "max_queue": 64, **how}
        made: Batcher[str, str] = Batcher(self, cost=len, **given)
        made.start()
        return made

    async def is_asked(self, times: int) -> None:
        while len(self.batches) < times:
            await asyncio.sleep(0.001)


@pytest.fixture
def model() -> Model:
    return Model()


def soon() -> float:
    return time.monotonic() + 600


class Clock:
    """The batcher's time: it stands still until a test sets it forward."""

    thread_time = staticmethod(time.thread_time)

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(batching, "time", made)
    return made


class TestTheThread:
    @given(
        st.lists(st.lists(st.text("abc", min_size=1, max_size=80), min_size=1, max_size=12), max_size=12),
        st.integers(1, 4),
    )
    def test_each_request_gets_its_own_answers_in_its_own_order(
        self, requests: list[list[str]], threads: int
    ) -> None:
        model = Model()
        batcher = model.batcher(max_queue=1000, threads=threads)

        async def ask() -> list[list[str]]:
            return await asyncio.gather(*(batcher.submit("v", texts, soon()) for texts in requests))

        assert run(ask()) == [[text.upper() for text in texts] for texts in requests]
        batcher.stop()
        assert batcher.depth == 0

    def test_batches_run_side_by_side(self, model: Model) -> None:
        """Each waits for the other: they end only if both run at once."""
        meet = threading.Barrier(2, timeout=60)
        batcher: Batcher[str, int] = Batcher(
            lambda _, texts: [meet.wait() for _ in texts],
            cost=len,
            max_batch=1,
            max_cost=64,
            max_queue=64,
            threads=2,
        )
        batcher.start()
        assert batcher.is_alive
        assert sorted(run(batcher.submit("v", ["a", "b"], soon()))) == [0, 1]
        batcher.stop()
        assert not batcher.is_alive
        assert (batcher.stats.runs, batcher.stats.texts, batcher.depth) == (2, 2, 0)

    @pytest.mark.parametrize("threads", [1, 2])
    def test_what_is_queued_is_finished_before_the_threads_end(self, model: Model, threads: int) -> None:
        batcher = model.batcher(threads=threads, max_batch=1)

        async def ask() -> list[str]:
            model.go.clear()
            asked = asyncio.ensure_future(batcher.submit("v", ["a", "b", "c", "d"], soon()))
            await model.is_asked(1)
            stopping = asyncio.ensure_future(asyncio.to_thread(batcher.stop))
            await asyncio.sleep(0.01)
            model.go.set()
            await stopping
            return await asked

        assert run(ask()) == ["A", "B", "C", "D"]

    @pytest.mark.parametrize("threads", [1, 3])
    def test_a_bad_text_fails_only_its_own_request(self, model: Model, threads: int) -> None:
        batcher = model.batcher(threads=threads)

        async def ask() -> list[Any]:
            model.go.clear()
            asked = [batcher.submit("v", texts, soon()) for texts in (["wait"], ["a", "b"], ["bad"], ["c"])]
            tasks = [asyncio.ensure_future(work) for work in asked]
            await model.is_asked(1)
            model.go.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

        first, second, third, fourth = run(ask())
        assert (first, second, fourth) == (["WAIT"], ["A", "B"], ["C"])
        assert isinstance(third, ValueError)
        batcher.stop()

    def test_a_line_that_takes_longer_than_there_is_time_refuses_at_once(
        self, model: Model, clock: Clock
    ) -> None:
        batcher = model.batcher()
        # A second for ten tokens, as it was of late.
        batcher._measure(1.0, 10)

        async def ask() -> None:
            model.go.clear()
            busy = [asyncio.ensure_future(batcher.submit("v", [text], soon())) for text in ("run", "w" * 30)]
            await model.is_asked(1)
            assert batcher.wait_s == pytest.approx(3.0)
            with pytest.raises(GatewayError, match="too many texts"):
                await batcher.submit("v", ["short"], clock.now + 5)
            patient = asyncio.ensure_future(batcher.submit("v", ["short"], clock.now + 20))
            await asyncio.sleep(0)
            model.go.set()
            assert await patient == ["SHORT"]
            await asyncio.gather(*busy)

        run(ask())
        assert batcher.stats.refused == 1
        batcher.stop()

    def test_who_waited_in_vain_makes_the_next_one_refused_sooner(self, model: Model, clock: Clock) -> None:
        batcher = model.batcher()
        wait = batcher._wait_share

        async def ask() -> None:
            model.go.clear()
            first = asyncio.ensure_future(batcher.submit("v", ["first"], soon()))
            await model.is_asked(1)
            late = asyncio.ensure_future(batcher.submit("v", ["late"], clock.now + 1))
            await asyncio.sleep(0)
            clock.now += 2
            model.go.set()
            await first
            with pytest.raises(GatewayError, match="in time"):
                await late

        run(ask())
        assert batcher._wait_share < wait
        sooner = batcher._wait_share
        run(batcher.submit("v", ["fine"], soon()))
        batcher.stop()
        assert sooner < batcher._wait_share <= wait

    def test_while_it_refuses_no_batch_starts_before_the_loop_is_through(
        self, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batching, "_MOST_YIELD_S", 60.0)
        batcher = model.batcher(max_queue=1)
        handled: list[str] = []

        async def ask() -> None:
            model.go.clear()
            first = asyncio.ensure_future(batcher.submit("v", ["first"], soon()))
            await model.is_asked(1)
            second = asyncio.ensure_future(batcher.submit("v", ["second"], soon()))
            await asyncio.sleep(0)
            with pytest.raises(GatewayError):
                await batcher.submit("v", ["refused"], soon())
            model.go.set()
            # The loop is busy, and something has come that it has not seen yet.
            asyncio.get_running_loop().call_soon(lambda: handled.append(str(len(model.batches))))
            time.sleep(0.2)
            await asyncio.gather(first, second)

        run(ask())
        assert (handled, len(model.batches)) == (["1"], 2)
        batcher.stop()

    def test_what_nobody_waits_for_is_not_run(self, model: Model, clock: Clock) -> None:
        batcher = model.batcher()
        is_there = True

        async def ask() -> None:
            nonlocal is_there
            model.go.clear()
            first = asyncio.ensure_future(batcher.submit("v", ["first"], soon()))
            await model.is_asked(1)
            left = asyncio.ensure_future(batcher.submit("v", ["left"], soon(), lambda: is_there))
            stays = asyncio.ensure_future(batcher.submit("v", ["stays"], soon()))
            late = asyncio.ensure_future(batcher.submit("v", ["late"], clock.now + 1))
            await asyncio.sleep(0)
            clock.now += 2
            is_there = False
            model.go.set()
            assert await stays == ["STAYS"]
            for gone in (left, late):
                with pytest.raises(GatewayError, match="in time"):
                    await gone
            await first

        run(ask())
        assert model.batches == [["first"], ["stays"]]
        batcher.stop()

    def test_a_large_request_is_read_piece_by_piece_and_others_in_between(
        self, model: Model, clock: Clock
    ) -> None:
        batcher = model.batcher()

        async def ask() -> None:
            model.go.clear()
            large = asyncio.ensure_future(batcher.submit("v", ["x" * 60] * 5, clock.now + 1))
            await model.is_asked(1)
            small = asyncio.ensure_future(batcher.submit("v", ["small"], soon()))
            await asyncio.sleep(0)
            # What was begun in time is finished.
            clock.now += 2
            model.go.set()
            assert await small == ["SMALL"]
            assert await large == ["X" * 60] * 5

        run(ask())
        assert max(map(len, model.batches)) == 1
        assert model.batches.index(["small"]) < 5
        batcher.stop()
