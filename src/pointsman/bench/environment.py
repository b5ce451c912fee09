"""What figures were measured on: enough to judge them, nothing that names a person, a host or a path."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from pointsman import __version__
from pointsman.errors import DataError
from pointsman.runtime.session import available_threads

FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_int8",
    "amx_tile",
    "asimddp",
)
"""Instruction sets that decide how fast matrix products are; `avx512_vnni` and `avx_vnni` matter for int8."""

PACKAGES = ("pointsman", "numpy", "onnxruntime", "tokenizers", "onnx", "torch", "transformers", "openvino")


@dataclass(frozen=True, slots=True)
class Environment:
    """One machine, as far as it matters to a figure.

    Attributes:
        flags: those of `FLAGS` that the processor has.
        usable: processors that this process may use, by affinity and cgroup quota.
        memory_bytes: physical memory; 0 where it cannot be read.
        load: processes that wanted to run, averaged over the last minute, when the measurement began.
    """

    cpu: str
    architecture: str
    flags: tuple[str, ...]
    processors: int
    usable: int
    memory_bytes: int
    system: str
    python: str
    packages: Mapping[str, str]
    load: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "flags": list(self.flags), "packages": dict(self.packages)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            DataError: a field is missing or unknown.
        """
        try:
            return cls(**{**data, "flags": tuple(data["flags"]), "packages": dict(data["packages"])})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"benchmark: environment is not understood: {error}.") from None

    @property
    def has_vnni(self) -> bool:
        """Whether the processor multiplies u8 by s8 without the 16-bit saturation of plain AVX2."""
        return any("vnni" in flag or flag.startswith("amx") or flag == "asimddp" for flag in self.flags)


def capture_environment(proc: Path = Path("/proc"), packages: Sequence[str] = PACKAGES) -> Environment:
    """Look at the machine.

    Args:
        proc: where the kernel's files are.
    """
    cpuinfo = _read(proc / "cpuinfo")
    has = set(_field(cpuinfo, "flags").split()) | set(_field(cpuinfo, "Features").split())
    return Environment(
        cpu=_field(cpuinfo, "model name") or platform.processor() or "unknown",
        architecture=platform.machine(),
        flags=tuple(flag for flag in FLAGS if flag in has),
        processors=os.cpu_count() or 1,
        usable=available_threads(),
        memory_bytes=_memory_bytes(_read(proc / "meminfo")),
        system=f"{platform.system()} {platform.release().split('-')[0]}",
        python=platform.python_version(),
        packages={name: found for name in packages if (found := _version(name)) is not None},
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
    )


def peak_rss_bytes(proc: Path = Path("/proc")) -> int:
    """The most memory that this process ever held in RAM, in bytes; 0 where the system does not say.

    `VmHWM` and not `getrusage`: the latter's figure is inherited from the parent through fork and exec.
    """
    value = _field(_read(proc / "self" / "status"), "VmHWM").split()
    return int(value[0]) * 1024 if value else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _field(text: str, name: str) -> str:
    """The value of the first `name : value` line, or an empty string."""
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if separator and key.strip() == name:
            return value.strip()
    return ""


def _memory_bytes(meminfo: str) -> int:
    value = _field(meminfo, "MemTotal").split()
    return int(value[0]) * 1024 if value else 0


def _version(package: str) -> str | None:
    try:
        # An editable installation keeps the number that it was installed with.
        return __version__ if package == "pointsman" else version(package)
    except PackageNotFoundError:
        return None
