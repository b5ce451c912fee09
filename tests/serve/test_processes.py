"""A gateway as the kernel sees it: the threads that it has are the ones that it was given."""

import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.support.running import Process
from tests.support.tiny_artifact import CLOUD_TEXT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def threads_of(server: Process) -> int:
    found = httpx.post(
        f"{server.url}/predict", json={"query": [CLOUD_TEXT] * 32}, trust_env=False, timeout=60
    )
    assert len(found.json()["predictions"]) == 32
    return len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))


def test_the_tokenizer_has_no_threads_of_its_own(spawn: Callable[..., Process]) -> None:
    # The tokenizer library makes as many as there are processors, whatever `--threads` says.
    usual, without, with_them = (
        threads_of(spawn("--threads", "1", **environment))
        for environment in ({}, {"TOKENIZERS_PARALLELISM": "false"}, {"TOKENIZERS_PARALLELISM": "true"})
    )
    assert usual == without < with_them
