"""What a router is measured against: every backend as a worker or a program, with the files it needs.

A backend that is not available is listed with the reason. Files made for the comparison (ONNX Runtime's
optimizer, the usual dynamic quantization, bare matrix products) live in a folder of their own.
"""

import importlib.util
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pointsman.artifact.layout import CONFIG, PLAIN
from pointsman.artifact.store import Artifact
from pointsman.bench.cold_start import CONVERT, ROUTER, TORCH
from pointsman.bench.matmul_bound import write_products
from pointsman.bench.nncf_peer import quantize_by_nncf
from pointsman.bench.results import Backend, Kind, Scenario
from pointsman.bench.runner import Program, Worker
from pointsman.errors import PointsmanError

STOCK = "pointsman.bench.worker_onnx"
OPENVINO = "pointsman.bench.worker_openvino"
EAGER = "pointsman.bench.worker_torch"
OURS = "pointsman.bench.worker_router"

LIMIT_SHAPES = ("1x16", "32x32")
"""The shapes at which the bare matrix products are measured."""
LEFT_OUT = "left out of this set of scenarios"
FIRST_QUERY = "Can you analyze the quarterly business performance?"


@dataclass(slots=True)
class Plan:
    """Backends in the order of tables, and how to run those that can be."""

    backends: list[Backend] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def skip(self, name: str, title: str, reason: str) -> None:
        """List a backend that is not measured."""
        self.backends.append(Backend(name, title, skipped=reason))


def make_plan(
    artifact: Artifact,
    reference: Path | None,
    scenarios: Sequence[Scenario],
    folder: Path,
    leave_out: Sequence[str] = (),
) -> Plan:
    """Plan a benchmark.

    Args:
        artifact: the router to measure; its files are verified first.
        reference: the checkpoint that it was made from; None leaves out what needs one.
        folder: where files made for the comparison go.

    Raises:
        IntegrityError: a file of the artifact is not what its manifest says.
    """
    artifact.verify(listed_only=True)
    plan = Plan()
    _torch(plan, reference)
    _stock(plan, artifact, folder, leave_out)
    _ours(plan, artifact)
    _products(plan, artifact, scenarios, folder)
    _bulk(plan, artifact, reference)
    _programs(plan, artifact, reference)
    return _without(plan, leave_out)


def _torch(plan: Plan, reference: Path | None) -> None:
    for name, title, compiled in (
        ("torch", "PyTorch eager", False),
        ("torch_compile", "PyTorch compiled", True),
    ):
        if reference is None:
            plan.skip(name, title, "no --reference checkpoint was given")
            continue
        size = sum(path.stat().st_size for path in reference.glob("*.safetensors"))
        plan.backends.append(Backend(name, title, size))
        plan.workers.append(Worker(name, EAGER, {"checkpoint": str(reference), "compile": compiled}))


def _stock(plan: Plan, artifact: Artifact, folder: Path, leave_out: Sequence[str]) -> None:
    """The plain file, and what the usual tools make of it."""
    titles = {
        "plain": "plain ONNX export",
        "ort_optimized": "ONNX Runtime's optimizer",
        "guide_quantized": "quantize_dynamic, QUInt8",
        "openvino": "OpenVINO, float32",
        "openvino_nncf": "OpenVINO, int8 by NNCF",
        "openvino_nncf_rate": "OpenVINO, int8 by NNCF, throughput hint",
    }
    if "plain" not in artifact.manifest.variants:
        for name, title in titles.items():
            plan.skip(name, title, "the artifact has no plain variant")
        return
    plain = artifact.path / PLAIN
    _add_stock(plan, "plain", titles["plain"], plain)
    for name, make in (("ort_optimized", _optimize), ("guide_quantized", _quantize)):
        path = folder / f"{name}.onnx"
        reason = LEFT_OUT if name in leave_out else _make(plan, name, partial(make, plain, path, artifact))
        if reason:
            plan.skip(name, titles[name], reason)
        else:
            _add_stock(plan, name, titles[name], path)
    _openvino(plan, titles, artifact, folder, leave_out)


def _openvino(
    plan: Plan, titles: Mapping[str, str], artifact: Artifact, folder: Path, leave_out: Sequence[str]
) -> None:
    """OpenVINO on the plain file, and on what NNCF makes of it, by both of its hints."""
    plain, int8 = artifact.path / PLAIN, folder / "nncf.xml"
    missing = [name for name in ("openvino", "nncf") if importlib.util.find_spec(name) is None]
    no_int8 = f"{' and '.join(missing)}: not installed; `nox -s peers` makes an environment with both"
    if not missing:
        wanted = {"openvino_nncf", "openvino_nncf_rate"} - set(leave_out)
        quantize = partial(quantize_by_nncf, plain, int8, artifact)
        no_int8 = _make(plan, "openvino_nncf", quantize) if wanted else LEFT_OUT
    no_float32 = no_int8 if "openvino" in missing else ""
    for name, reason, file, hint in (
        ("openvino", no_float32, plain, "LATENCY"),
        ("openvino_nncf", no_int8, int8, "LATENCY"),
        ("openvino_nncf_rate", no_int8, int8, "THROUGHPUT"),
    ):
        if reason:
            plan.skip(name, titles[name], reason)
            continue
        size = sum(path.stat().st_size for path in {file, file.with_suffix(".bin")} if path.is_file())
        plan.backends.append(Backend(name, titles[name], size))
        plan.workers.append(Worker(name, OPENVINO, {"model": str(file), "hint": hint}))


def _make(plan: Plan, name: str, make: Callable[[], Mapping[str, Any]]) -> str:
    """Make a file with a third-party tool and keep its facts; returns why it failed, or an empty string."""
    try:
        with _quiet():
            plan.facts[name] = make()
    except Exception as error:  # noqa: BLE001 - the tools raise whatever they like; the table says it
        return f"the tool failed: {type(error).__name__}: {error}"[:200]
    return ""


def _add_stock(plan: Plan, name: str, title: str, path: Path) -> None:
    plan.backends.append(Backend(name, title, path.stat().st_size))
    plan.workers.append(Worker(name, STOCK, {"kind": "onnx", "model": str(path)}))


def _ours(plan: Plan, artifact: Artifact) -> None:
    for name, title in (("folded", "folded fp32"), ("int8", "folded int8")):
        if name not in artifact.manifest.variants:
            plan.skip(name, title, "the artifact has no such variant")
            continue
        size = artifact.manifest.files[artifact.manifest.variants[name]].size_bytes
        plan.backends.append(Backend(name, title, size))
        plan.workers.append(Worker(name, OURS, {"artifact": str(artifact.path), "variant": name}))


def _products(plan: Plan, artifact: Artifact, scenarios: Sequence[Scenario], folder: Path) -> None:
    """Bare matrix products of our variants, at the shapes of the limit."""
    wanted = [one for one in scenarios if one.kind is Kind.LATENCY and one.shape in LIMIT_SHAPES]
    for variant in ("folded", "int8"):
        name, title = f"{variant}_products", f"products of {variant} alone"
        if variant not in artifact.manifest.variants:
            plan.skip(name, title, "the artifact has no such variant")
            continue
        files, facts = {}, {}
        try:
            for scenario in {one.shape: one for one in wanted}.values():
                path = folder / f"{name}_{scenario.shape}.onnx"
                model = artifact.path / artifact.manifest.variants[variant]
                made = write_products(model, path, batch=scenario.batch, length=scenario.lengths[0])
                files[scenario.shape] = str(path)
                facts[scenario.shape] = {
                    "products": made.count,
                    "operators": made.operators,
                    "mega_operations": made.mega_operations,
                }
        except PointsmanError as error:
            plan.skip(name, title, str(error))
            continue
        plan.facts[name] = facts
        plan.backends.append(Backend(name, title))
        names = frozenset(one.name for one in wanted)
        if names:
            settings = {"kind": "products", "files": files}
            plan.workers.append(Worker(name, STOCK, settings, scenarios=names))


def _bulk(plan: Plan, artifact: Artifact, reference: Path | None) -> None:
    """Many texts: batch loop, plain ONNX against `route_many`."""
    bulk = frozenset({Kind.BULK})
    title = "batch loop, plain ONNX"
    if reference is None or "plain" not in artifact.manifest.variants:
        plan.skip("guide_loop", title, "needs a --reference checkpoint and a plain variant")
    else:
        settings = {
            "kind": "loop",
            "model": str(artifact.path / PLAIN),
            "checkpoint": str(reference),
            "max_tokens": artifact.manifest.limits.max_tokens,
        }
        plan.backends.append(Backend("guide_loop", title))
        plan.workers.append(Worker("guide_loop", STOCK, settings, bulk))
    default = artifact.manifest.default_variant
    for variant in ("folded", "int8"):
        name = "route_many" if variant == default else f"route_many_{variant}"
        if variant in artifact.manifest.variants:
            plan.backends.append(Backend(name, f"route_many, {variant}"))
            settings = {"artifact": str(artifact.path), "variant": variant}
            plan.workers.append(Worker(name, OURS, settings, bulk))


def _programs(plan: Plan, artifact: Artifact, reference: Path | None) -> None:
    """Whole processes: import, open, first decision, end; and the conversion."""
    title = "transformers + torch"
    if reference is None:
        plan.skip("torch_program", title, "no --reference checkpoint was given")
        plan.skip("convert", "folded conversion", "no --reference checkpoint was given")
    else:
        plan.backends.append(Backend("torch_program", title))
        plan.programs.append(Program("torch_program", Kind.COLD_START, TORCH, (str(reference), FIRST_QUERY)))
        plan.backends.append(Backend("convert", "folded conversion"))
        plan.programs.append(Program("convert", Kind.CONVERSION, CONVERT, (str(reference),)))
    plan.backends.append(Backend("router_program", "Router"))
    plan.programs.append(
        Program("router_program", Kind.COLD_START, ROUTER, (str(artifact.path), FIRST_QUERY))
    )


def _without(plan: Plan, leave_out: Sequence[str]) -> Plan:
    """The plan with some backends listed as left out."""
    plan.backends = [
        replace(one, skipped=one.skipped or LEFT_OUT) if one.name in leave_out else one
        for one in plan.backends
    ]
    plan.workers = [one for one in plan.workers if one.backend not in leave_out]
    plan.programs = [one for one in plan.programs if one.backend not in leave_out]
    return plan


def _optimize(plain: Path, output: Path, artifact: Artifact) -> dict[str, int]:
    """ONNX Runtime's transformer optimizer on the plain file; returns what it fused, name to count."""
    # Here and not above: it imports torch, which takes seconds.
    from onnxruntime.transformers import optimizer

    config = json.loads(artifact.read(CONFIG))
    optimized = optimizer.optimize_model(
        str(plain),
        model_type="bert",
        num_heads=int(config.get("num_attention_heads", 0)),
        hidden_size=int(config.get("hidden_size", 0)),
    )
    fused: dict[str, int] = optimized.get_fused_operator_statistics()
    optimized.save_model_to_file(str(output))
    return {name: count for name, count in fused.items() if count}


def _quantize(plain: Path, output: Path, artifact: Artifact) -> dict[str, str]:
    """The usual recipe: every product with dynamic activations and unsigned 8-bit weights."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(model_input=str(plain), model_output=str(output), weight_type=QuantType.QUInt8)
    return {"recipe": "quantize_dynamic, weight_type=QUInt8", "model_type": artifact.manifest.model_type}


@contextmanager
def _quiet() -> Iterator[None]:
    """No advice from the tools while they work; warnings of the process come back afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
