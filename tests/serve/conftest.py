"""What most tests of the gateway need: a tiny router, two scripted upstreams, a running gateway."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.fake_upstream import FakeUpstream, answer
from tests.support.running import Process, Running, running, settings_for
from tests.support.tiny_artifact import build_tiny_artifact

LOCAL_MODEL, CLOUD_MODEL = "small", "big"


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_artifact(tmp_path_factory.mktemp("router") / "tiny").path


@pytest.fixture(scope="module")
def plain(artifact: Path) -> Iterator[Running]:
    """A gateway that only classifies; shared, so a test leaves it as it was."""
    with running(settings_for(artifact)) as made:
        yield made


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Start gateways that stop when the test ends."""
    with ExitStack() as stack:
        yield lambda settings: stack.enter_context(running(settings))


@pytest.fixture
def local() -> Iterator[FakeUpstream]:
    made = FakeUpstream(answer())
    yield made
    made.close()


@pytest.fixture
def cloud() -> Iterator[FakeUpstream]:
    made = FakeUpstream(answer())
    yield made
    made.close()


@pytest.fixture
def both(
    artifact: Path, start: Callable[..., Running], local: FakeUpstream, cloud: FakeUpstream
) -> Callable[..., Running]:
    """Start a gateway before the two upstreams: `both(routing={...}, upstream={...of both})`."""

    def make(*, upstream: dict[str, Any] | None = None, currency: str = "USD", **tables: Any) -> Running:
        shared = {"connect_timeout_s": 60.0, "first_byte_timeout_s": 60.0, **(upstream or {})}
        upstreams = {
            "currency": currency,
            "local": {"url": local.url, "model": LOCAL_MODEL, **shared},
            "cloud": {"url": cloud.url, "model": CLOUD_MODEL, "price_in": 2.0, "price_out": 10.0, **shared},
        }
        return start(settings_for(artifact, upstreams=upstreams, **tables))

    return make


@pytest.fixture
def spawn(artifact: Path, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []
    with (tmp_path / "log").open("wb") as log:

        def spawn(*arguments: str, **environment: str) -> Process:
            made.append(Process(artifact, log, *arguments, **environment))
            return made[-1]

        yield spawn
        for one in made:
            if one.process.poll() is None:
                one.process.kill()
                one.wait()
