"""The commands of the chain, ended at any moment: nothing is lost, nothing is paid twice."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.fake_models import Models, fake_models, is_hard, log_of
from tests.support.tiny_mobilebert import tiny_mobilebert
from tests.support.waiting import until
from tests.traffic.conftest import rows, write_log

from pointsman.cli.__main__ import main
from pointsman.traffic.log import query_id
from pointsman.traffic.work import Query, Work

ROWS, AT_ONCE = 24, 4
COLLECT = ["collect", "log.jsonl", "--config", "gateway.toml", "--output", "work", "--yes"]


@pytest.fixture
def slow(tmp_path, monkeypatch) -> Iterator[Models]:
    """Models that take a while; the working directory has a log of 24 queries."""
    monkeypatch.chdir(tmp_path)
    write_log(log_of(ROWS))
    with fake_models(delay_s=0.1) as models:
        Path("gateway.toml").write_text(models.config())
        yield models


HELD = """
import runpy, sys, time
from pointsman.convert import artifact_files

def hold(*_):
    print("held in the export", file=sys.stderr, flush=True)
    time.sleep(600)

artifact_files.model_card = hold
runpy.run_module("pointsman", run_name="__main__", alter_sys=True)
"""
"""The command line, whose export stops where files are written already and the last one is still to come."""


def start(words: list[str], program: Sequence[str] = ("-m", "pointsman"), **how: object) -> subprocess.Popen:
    command = [sys.executable, *program, *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, **how)  # type: ignore[call-overload]


def finish(words: list[str]) -> None:
    assert main(words) == 0


def read_until(said: str, running: subprocess.Popen) -> None:
    assert running.stderr is not None
    while said not in (line := running.stderr.readline()):
        assert line


def paid(models: Models) -> int:
    return len(models.local.seen) + len(models.cloud.seen) + len(models.judge.seen)


def answers() -> int:
    with Work.open(Path("work")) as work:
        return sum(len(work.answers(role)) for role in ("local", "cloud"))


@pytest.mark.parametrize("command", ["collect", "judge"])
def test_ctrl_c_keeps_the_calls_in_flight_and_the_same_command_goes_on(slow, command):
    words = COLLECT if command == "collect" else ["judge", "work", *slow.judging(), "--yes"]
    calls = 2 * ROWS
    if command == "judge":
        finish([*COLLECT, "--concurrency", "24"])
    before, released = paid(slow), threading.Event()
    # The ninth call and those after it are in flight until Ctrl-C has come, however slow this machine is.
    for model in (slow.local, slow.cloud, slow.judge):
        model.failing = lambda number: None if paid(slow) < before + 9 or released.wait(60) else b""
    running = start(words)
    until(lambda: paid(slow) >= before + 9)
    running.send_signal(signal.SIGINT)
    read_until("calls in flight", running)
    released.set()
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in said
    assert before + 9 <= paid(slow) < before + 9 + AT_ONCE
    finish(words)
    assert paid(slow) == before + calls
    finish(["judge", "work", *slow.judging(), "--yes"])
    assert len(rows()) == ROWS


def test_a_second_ctrl_c_gives_the_calls_in_flight_up(slow):
    released = threading.Event()
    slow.cloud.failing = slow.local.failing = lambda number: None if released.wait(600) else b""
    try:
        running = start(COLLECT)
        until(lambda: paid(slow) == AT_ONCE)
        running.send_signal(signal.SIGINT)
        read_until("calls in flight", running)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    finally:
        released.set()
    assert running.returncode == 130
    assert "Traceback" not in said
    finish(COLLECT)
    assert paid(slow) == 2 * ROWS + AT_ONCE


def test_an_upstream_that_asks_to_wait_does_not_hold_ctrl_c_up(slow):
    from tests.support.fake_models import refused

    slow.cloud.failing = lambda number: refused(429, "slow down", "retry-after: 100\r\n")
    running = start(COLLECT)
    until(lambda: len(slow.cloud.seen) == AT_ONCE)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130


def test_ctrl_c_ends_the_page_and_what_was_said_is_written(slow):
    finish([*COLLECT, "--concurrency", "24"])
    with Work.open(Path("work")) as work:
        work.label(work.queries(sampled=True)[0].id, "cloud", "person")
    running = start(["label", "work"])
    assert running.stderr is not None
    assert "open http://127.0.0.1:" in running.stderr.readline()
    running.send_signal(signal.SIGINT)
    said, wrong = running.communicate(timeout=60)
    assert running.returncode == 0, wrong
    assert "1 rows with scores" in said and "Traceback" not in wrong
    assert len(rows()) == 1


@pytest.mark.torch
@pytest.mark.slow
def test_ctrl_c_in_fit_leaves_neither_a_router_nor_half_of_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_mobilebert(Path("base"))
    with Work.open(Path("work"), create=True) as work:
        for query in log_of(210):
            messages = [{"role": "user", "content": query}]
            name = query_id(messages)
            work.add_queries([Query(name, query, messages, {}, 1, 1.0)])
            work.judge(name, 0.0 if is_hard(query) else 1.0, 1.0, {})
    words = ["fit", "work", "--output", "router", "--base", "base", "--threads", "1"]
    running = start(words, program=["-c", HELD])
    read_until("held in the export", running)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "Traceback" not in said and "interrupted" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "work"]
    finish(words)


def test_a_full_disk_stops_it_with_what_to_do_and_keeps_what_was_there(slow):
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))

    slow.cloud.says = lambda text: "A sound answer " + "x" * 8_000
    slow.cloud.delay_s = slow.local.delay_s = 0.0
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    running = start(COLLECT, preexec_fn=no_room, env=environment)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 1, said
    assert "work.db cannot be written" in said and "Make room" in said and "Traceback" not in said
    kept = answers()
    first = paid(slow)
    assert first - AT_ONCE <= kept <= first
    finish(COLLECT)
    assert answers() == 2 * ROWS
    assert paid(slow) == first + 2 * ROWS - kept
    assert sqlite3.connect("work/work.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)
