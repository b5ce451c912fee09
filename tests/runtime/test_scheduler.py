"""The scheduler: every job once, in order, on no more threads than planned, whoever else calls."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.runtime.scheduler import Scheduler


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(), max_size=40), st.integers(1, 8))
def test_results_stand_in_the_order_of_the_jobs(jobs: list[int], threads: int) -> None:
    seen: list[int] = []

    def run(job: int) -> int:
        seen.append(job)
        return job * 2

    assert Scheduler(threads).map(run, jobs) == [job * 2 for job in jobs]
    assert sorted(seen) == sorted(jobs)


def test_jobs_run_side_by_side() -> None:
    """Two jobs that wait for each other end only if both run at once."""
    meet = threading.Barrier(2, timeout=60)
    Scheduler(2).map(lambda _: meet.wait(), [0, 1])


def test_a_single_job_stays_on_the_calling_thread() -> None:
    assert Scheduler(4).map(lambda _: threading.get_ident(), [0]) == [threading.get_ident()]


@pytest.mark.parametrize("callers", [1, 3])
def test_no_more_runs_at_once_than_callers_and_shared_threads(callers: int) -> None:
    scheduler, lock = Scheduler(3), threading.Lock()
    running, most = 0, 0

    def run(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(lambda _: scheduler.map(run, list(range(20))), range(callers)))
    assert most <= callers + 2


def test_a_call_ends_while_the_shared_threads_are_busy_with_another() -> None:
    scheduler = Scheduler(2)
    release = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(scheduler.map, lambda _: release.wait(60), [0, 1])
        assert scheduler.map(str, [1, 2, 3]) == ["1", "2", "3"]
        assert not other.done()
        release.set()
        assert other.result() == [True, True]


@pytest.mark.parametrize("bad", [0, 1, 7])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_an_error_is_raised_and_nothing_further_is_begun(bad: int, threads: int) -> None:
    begun: list[int] = []

    def run(job: int) -> None:
        begun.append(job)
        if job == bad:
            raise ValueError(f"job {job}")
        time.sleep(0.001)

    scheduler = Scheduler(threads)
    # So many that they last longer than any pause of the thread that fails.
    with pytest.raises(ValueError, match=f"job {bad}"):
        scheduler.map(run, list(range(50_000)))
    assert len(begun) < 50_000
    assert scheduler.map(str, [1, 2]) == ["1", "2"]


def test_an_error_on_a_shared_thread_reaches_the_caller() -> None:
    caller = threading.get_ident()
    meet = threading.Barrier(2, timeout=60)

    def run(_: int) -> None:
        meet.wait()
        if threading.get_ident() != caller:
            raise ValueError("elsewhere")

    with pytest.raises(ValueError, match="elsewhere"):
        Scheduler(2).map(run, [0, 1])


_AFTER_THE_END = """
import atexit, threading
from pointsman.runtime.scheduler import Scheduler

scheduler, main = Scheduler(3), threading.main_thread()


def late():
    main.join()
    print(scheduler.map(abs, [-1, -2, -3, -4]))


threading.Thread(target=late).start()
atexit.register(lambda: print(scheduler.map(abs, [-5, -6])))
"""


def test_a_thread_that_outlives_the_main_one_still_gets_its_answers():
    done = subprocess.run([sys.executable, "-c", _AFTER_THE_END], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[1, 2, 3, 4]\n[5, 6]\n", "")
