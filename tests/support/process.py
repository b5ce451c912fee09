"""A gateway as a process of its own, on a core of its own, and what the kernel knows about it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import wire
from tests.support.fault_upstream import free_port

SERVER_CORE, LOAD_CORE = 0, 1
CORES = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else (0,)
"""Every core that this process was given, whichever it pins itself to later."""
_START_S = 60.0


def pin(core: int, pid: int = 0) -> bool:
    """Keep a process on one core, where the system has more than one and lets us."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        return False
    try:
        os.sched_setaffinity(pid, {core})
    except OSError:
        return False
    return True


def pin_nowhere() -> None:
    """Give a child that only counts every core again; called in it, before it becomes its program."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, CORES)


def environment_without_settings(added: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: ours without what would set a gateway up, and with what is added."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    return {**known, **added}


class Server:
    """Any server process on the server's core.

    Args:
        has_greeting: its standard output is a pipe that the caller reads. Otherwise it goes to the log with
            standard error: a pipe that is not read stops a server that writes a line a request.
        log: where standard error goes; None makes a file in the folder.
        cores: other cores than the server's.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        files: int | None = None,
        *,
        has_greeting: bool = False,
        log: Path | None = None,
        cores: Sequence[int] | None = None,
    ) -> None:
        self.log = log or folder / "log"
        self.folder = folder

        def prepare() -> None:
            if cores is None:
                pin(SERVER_CORE)
            else:
                os.sched_setaffinity(0, cores)
            if files is not None:
                import resource

                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        with self.log.open("ab") as written:
            self.process = subprocess.Popen(
                list(command),
                cwd=folder,
                stdout=subprocess.PIPE if has_greeting else written,
                stderr=written,
                env=environment_without_settings(environment or {}),
                preexec_fn=prepare,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def status(self, name: str) -> int:
        """A figure of /proc/PID/status, for example VmRSS in kB or Threads."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
        return 0

    @property
    def rss_mb(self) -> float:
        """Resident memory, MiB."""
        return self.status("VmRSS") / 1024

    @property
    def files(self) -> int:
        """Open descriptors."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def children(self) -> tuple[int, ...]:
        """The processes that it started and that still run."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return tuple(sorted(map(int, text.split())))

    @property
    def cpu_s(self) -> float:
        """Processor time so far, seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def ended(self, most_s: float) -> int | None:
        """The exit code, or None where it still runs after that time."""
        until = time.monotonic() + most_s
        while self.process.poll() is None:
            if time.monotonic() > until:
                return None
            await asyncio.sleep(0.01)
        return self.process.returncode

    async def stop(self) -> None:
        """End it, by force if need be."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            if await self.ended(10) is None:
                self.process.kill()
                self.process.wait()
        # A server's workers may outlive it, and would share the core with what comes next.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Gateway(Server):
    """`python -m pointsman serve`, from a table of settings.

    Attributes:
        port, admin_port: on loopback.
        auth: headers with a user's and an admin's key, where the settings have keys.
    """

    port: int
    admin_port: int
    auth: dict[str, str]
    admin_auth: dict[str, str]

    @classmethod
    async def start(
        cls,
        settings: Mapping[str, Any] | None = None,
        *,
        files: int | None = None,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        cores: Sequence[int] | None = None,
    ) -> Self:
        """Start one and wait until it answers. Raises RuntimeError with its last words where it does not."""
        folder = Path(tempfile.mkdtemp(prefix="pointsman-harness-"))
        tree = merged({"server": {"port": 0, "admin_port": free_port()}}, settings or {})
        command = [sys.executable, "-m", "pointsman", "serve", "--config", str(folder / "gateway.toml")]
        (folder / "gateway.toml").write_text(toml(tree), encoding="utf-8")
        (folder / "tmp").mkdir()
        environment = {"TMPDIR": str(folder / "tmp"), **(environment or {})}
        made = cls(command, folder, environment, files, has_greeting=True, log=log, cores=cores)
        assert made.process.stdout is not None
        loop = asyncio.get_running_loop()
        line = await asyncio.wait_for(loop.run_in_executor(None, made.process.stdout.readline), _START_S)
        if not line.startswith(b"pointsman listens on "):
            await made.stop()
            last_words = made.log.read_text()[-500:] if made.log.is_file() else ""
            raise RuntimeError(f"the gateway did not start: {last_words}")
        made.port = int(line.rsplit(b":", 1)[1])
        made.admin_port = int(tree["server"]["admin_port"])
        made.auth, made.admin_auth = _bearer(tree, "keys"), _bearer(tree, "admin_keys")
        return made

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by its name with labels."""
        answer = await wire.ask(self.admin_port, wire.get("/metrics", self.admin_auth))
        found = {}
        for line in answer.body.decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    async def state(self) -> dict[str, Any]:
        """/admin/state."""
        return dict((await wire.ask(self.admin_port, wire.get("/admin/state", self.admin_auth))).json())

    async def is_alive(self) -> bool:
        """Whether the next good request is answered."""
        try:
            answer = await wire.ask(self.port, wire.predict("analyze the quarterly plan", self.auth), 5.0)
        except (OSError, TimeoutError):
            return False
        return answer.status == 200

    async def settles(self, most_s: float = 10.0) -> bool:
        """Whether no request is in flight, within that time."""
        until = time.monotonic() + most_s
        while time.monotonic() < until:
            # The question itself is one request.
            if (await self.state())["in_flight"] <= 1:
                return True
            await asyncio.sleep(0.02)
        return False


def _bearer(tree: Mapping[str, Any], name: str) -> dict[str, str]:
    keys = tree.get("auth", {}).get(name, ())
    return {"authorization": f"Bearer {keys[0]}"} if keys else {}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A tree with another laid over it."""
    made = dict(base)
    for name, value in over.items():
        old = made.get(name)
        made[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return made


def toml(tree: Mapping[str, Any], prefix: str = "") -> str:
    """A tree of settings as TOML: JSON's strings, numbers and lists are TOML's too."""
    plain = {name: value for name, value in tree.items() if not isinstance(value, Mapping)}
    lines = [f"[{prefix}]"] if prefix and plain else []
    for name, value in plain.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            tables = (", ".join(f"{k} = {json.dumps(v)}" for k, v in item.items()) for item in value)
            lines.append(f"{name} = [" + ", ".join("{" + table + "}" for table in tables) + "]")
        elif value is not None:
            lines.append(f"{name} = {json.dumps(value if not isinstance(value, Path) else str(value))}")
    for name, value in tree.items():
        if isinstance(value, Mapping):
            lines.append(toml(value, f"{prefix}.{name}" if prefix else name))
    return "\n".join(lines) + "\n"
