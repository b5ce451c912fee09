"""For every test: hypothesis generates the same in each run, no example is timed, a process has one core."""

import contextlib
import functools
import importlib
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.browser import Browser

# torch's threads wait for each other in loops that take the core from the other worker: an export of a tiny
# checkpoint took five times the processor time. What needs more threads asks for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell lets what it starts in the background ignore Ctrl-C, and every process of a test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A client reads the certificates of every authority, for 20 ms, also to speak to loopback: once is enough.
for name in ("httpx", "httpx2"):  # the second is what OpenAI's client uses
    with contextlib.suppress(ModuleNotFoundError):
        module = importlib.import_module(f"{name}._transports.default")
        module.create_ssl_context = functools.cache(module.create_ssl_context)  # type: ignore[attr-defined]

with contextlib.suppress(ModuleNotFoundError):  # the base installation is tested without it
    from hypothesis import settings

    settings.register_profile("tests", derandomize=True, deadline=None)
    settings.load_profile("tests")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    from tests.support.browser import started

    with started(tmp_path_factory.mktemp("chromium")) as port:
        yield port


@pytest.fixture
def browser(chromium: int) -> Iterator["Browser"]:
    """A tab of the one chromium of this process, with a profile of its own."""
    from tests.support.browser import new_tab

    with new_tab(chromium) as tab:
        yield tab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first: at the end no worker waits for the last file of the other one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
