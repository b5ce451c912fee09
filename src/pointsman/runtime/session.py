"""An ONNX Runtime session that is what was asked for, or an error.

ONNX Runtime falls back to the CPU when a provider is absent, and sizes its thread pool to the host, not
to the container. Here an absent provider is an error, a run uses one thread, and how many run side by side
comes from affinity and cgroup quota.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pointsman.errors import ArtifactError, RuntimeUnavailableError
from pointsman.runtime.model_pipe import readable_once

CPU = "CPUExecutionProvider"
PROVIDERS = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}

_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_DTYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """How to run a model.

    Attributes:
        threads: runs side by side, each on one thread; None takes what `available_threads` says. A provider
            other than the CPU plans its own threads.
        providers: names from `PROVIDERS` or ONNX Runtime's own, in order of preference.
        provider_options: options per provider name, as ONNX Runtime takes them.
        allow_cpu_fallback: run on the CPU where a provider is absent; the session says what runs.

    Raises:
        RuntimeUnavailableError: fewer threads than one, no provider at all, or what is neither.
    """

    threads: int | None = None
    providers: Sequence[str] = ("cpu",)
    provider_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    allow_cpu_fallback: bool = False

    def __post_init__(self) -> None:
        threads, names = self.threads, self.providers
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise RuntimeUnavailableError(
                f"threads: expected a whole number of at least 1, found {threads!r}."
            )
        is_list = isinstance(names, Sequence) and not isinstance(names, str | bytes)
        if not is_list or not all(isinstance(name, str) for name in names):
            raise RuntimeUnavailableError(
                f"providers: expected a list of names such as ['cpu'], found {names!r}; "
                "their options go into provider_options."
            )
        if not names and not self.allow_cpu_fallback:
            raise RuntimeUnavailableError(f"providers: expected at least one of {sorted(PROVIDERS)}.")
        options = self.provider_options
        if not isinstance(options, Mapping) or not all(isinstance(o, Mapping) for o in options.values()):
            raise RuntimeUnavailableError(
                f"provider_options: expected a table of options by provider, found {options!r}."
            )


def available_threads(cgroup: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> int:
    """Processors that this process may really use: its affinity, cut by the quota of its cgroup; at least 1.

    Args:
        cgroup: where the cgroups' files are.
        groups: the file that says in which groups this process is; the quota of every group around it counts.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    folders = _cgroups(cgroup, groups)
    quotas = [quota for folder in folders if (quota := _quota(folder)) is not None]
    return max(1, min([affinity, *map(math.ceil, quotas)]))


def _cgroups(cgroup: Path, groups: Path) -> list[Path]:
    """The folders of the groups that may limit this process's processors, of cgroup v2 and of v1."""
    within = {cgroup: PurePosixPath("/"), cgroup / "cpu": PurePosixPath("/")}
    with suppress(OSError, ValueError):
        for line in groups.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            # Seen from a namespace, a group outside of it begins with `/..`.
            if controllers in ("", "cpu", "cpu,cpuacct") and ".." not in path:
                within[cgroup / "cpu" if controllers else cgroup] = PurePosixPath(path)
    return [top / group.relative_to("/") for top, path in within.items() for group in (path, *path.parents)]


def _quota(folder: Path) -> float | None:
    """CPUs granted by a group's `cpu.max` (v2) or `cpu.cfs_quota_us` (v1); None where there is no limit."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota_us = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period_us = int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
        return quota_us / period_us if quota_us > 0 and period_us > 0 else None
    return None


class Session:
    """A loaded model that answers token batches with logits."""

    def __init__(
        self, model: bytes | Path | list[bytes], config: SessionConfig | None = None, *, optimize: bool = True
    ) -> None:
        """Load a model.

        Args:
            model: the ONNX file's bytes (already verified) or its path. Bytes in blocks are given up, and the
                list emptied, while they are read: half the memory.
            optimize: let ONNX Runtime rewrite the graph; a file that is written as it shall run opens faster
                without.

        Raises:
            RuntimeUnavailableError: a provider is absent and no fallback was allowed.
            ArtifactError: ONNX Runtime does not take the model, or it asks for unknown inputs.
        """
        config = config or SessionConfig()
        # ONNX Runtime, where it was imported before this package, still has its telemetry on.
        ort.disable_telemetry_events()
        wanted = resolve_providers(config)
        on_cpu = all(name == CPU for name, _ in wanted)
        self.threads = (config.threads or available_threads()) if on_cpu else 1
        self._session = _opened(model, wanted, session_options(optimize))
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        if (missing := {name for name, _ in wanted} - {*self.providers}) and not config.allow_cpu_fallback:
            raise RuntimeUnavailableError(
                f"asked for {sorted(missing)}, but ONNX Runtime runs {list(self.providers)}: "
                "the provider did not start. Install its runtime, or allow the CPU fallback."
            )
        inputs = _inputs(self._session)
        self._inputs = {name: _DTYPES.get(item.type, np.int64) for name, item in inputs.items()}
        self.fixed_shape = _fixed_shape(inputs["input_ids"].shape)

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of one batch.

        The feed is built from the model's own inputs, so exports that ask for token types run too. A file of
        one fixed shape gets its rows in groups, padded to that shape; the padding is cut off again.

        Args:
            input_ids: int64 (batch, length).
            attention_mask: int64 (batch, length); 1 on tokens, 0 on padding.

        Returns:
            float32 (batch, labels).

        Raises:
            ArtifactError: a text is longer than a file of one fixed shape takes, or the model fails on it.
        """
        if self.fixed_shape is None:
            return self._run(input_ids, attention_mask)
        rows, length = self.fixed_shape
        if input_ids.shape[1] > length:
            raise ArtifactError(f"the model takes exactly {length} tokens, found {input_ids.shape[1]}.")
        answers = []
        for start in range(0, len(input_ids), rows):
            group = slice(start, start + rows)
            ids, mask = input_ids[group], attention_mask[group]
            room = ((0, rows - len(ids)), (0, length - ids.shape[1]))
            answers.append(self._run(np.pad(ids, room), np.pad(mask, room))[: len(ids)])
        return np.concatenate(answers)

    def _run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        feed = named_feed(self._inputs, input_ids, attention_mask)
        feed = {name: feed[name].astype(dtype, copy=False) for name, dtype in self._inputs.items()}
        try:
            answer = self._session.run(None, feed)[0]
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises its own untyped exceptions
            raise ArtifactError(f"the model cannot run: {error}") from None
        logits: NDArray[np.float32] = np.asarray(answer, dtype=np.float32)
        return logits


def named_feed(
    names: Iterable[str], input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """A batch by a model's own input names; token types are zeros."""
    known = {"input_ids": input_ids, "attention_mask": attention_mask}
    return {name: known[name] if name in known else np.zeros_like(input_ids) for name in names}


def session_options(optimize: bool) -> ort.SessionOptions:
    """How every run of a router is set up: one thread, and the graph rewritten by ONNX Runtime or not."""
    options = ort.SessionOptions()
    # The scheduler runs batches side by side; threads inside one run would wait for each other.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Lengths vary from call to call: a memory plan per shape would only ever grow.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def _opened(
    model: bytes | Path | list[bytes],
    wanted: Sequence[tuple[str, Mapping[str, str]]],
    options: ort.SessionOptions,
) -> ort.InferenceSession:
    try:
        with _source(model, wanted) as source:
            session = ort.InferenceSession(
                source,
                sess_options=options,
                providers=[name for name, _ in wanted],
                provider_options=[dict(given) for _, given in wanted],
            )
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises its own untyped exceptions
        raise ArtifactError(f"ONNX Runtime {ort.__version__} does not take the model: {error}") from None
    session.disable_fallback()
    return session


def _inputs(session: ort.InferenceSession) -> dict[str, Any]:
    """The model's inputs by name; raises ArtifactError where they are no tokens."""
    inputs = {item.name: item for item in session.get_inputs()}
    if inputs.keys() - _INPUTS or "input_ids" not in inputs:
        raise ArtifactError(
            f"the model's inputs: expected input_ids and at most {sorted(_INPUTS)}, found {[*inputs]}."
        )
    if len(shape := inputs["input_ids"].shape) != 2:
        raise ArtifactError(f"the model's input_ids: expected (batch, length), found {shape}.")
    return inputs


def _source(
    model: bytes | Path | list[bytes], wanted: Sequence[tuple[str, Mapping[str, str]]]
) -> AbstractContextManager[str | bytes]:
    if isinstance(model, list):
        if all(name == CPU for name, _ in wanted):
            return readable_once(model)
        # Others may open the file by its name once more (OpenVINO does), and would wait for ever.
        whole = b"".join(model)
        model.clear()
        return nullcontext(whole)
    return nullcontext(model if isinstance(model, bytes) else str(model))


def _fixed_shape(shape: Sequence[int | str | None]) -> tuple[int, int] | None:
    """(batch, length) where a file takes nothing else; None where its axes are dynamic."""
    batch, length = shape
    return (batch, length) if isinstance(batch, int) and isinstance(length, int) else None


def resolve_providers(config: SessionConfig) -> list[tuple[str, Mapping[str, str]]]:
    """The providers to ask ONNX Runtime for, by its own names, with their options.

    Raises:
        RuntimeUnavailableError: an unknown name, or one that this installation does not have.
    """
    installed = ort.get_available_providers()
    resolved: list[tuple[str, Mapping[str, str]]] = []
    for asked in config.providers:
        name = PROVIDERS.get(asked.lower(), asked)
        if name not in installed:
            if config.allow_cpu_fallback:
                continue
            raise RuntimeUnavailableError(
                f"provider {asked!r} is not in this installation of ONNX Runtime {ort.__version__} "
                f"(it has {installed}). Install the build that has it, or allow the CPU fallback."
            )
        options = config.provider_options
        resolved.append((name, options.get(asked, options.get(name, {}))))
    if config.allow_cpu_fallback and CPU not in [name for name, _ in resolved]:
        resolved.append((CPU, {}))
    return resolved
