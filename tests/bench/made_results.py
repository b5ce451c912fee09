"""A small benchmark made of chosen numbers, so that every figure in a report can be checked by hand."""

from pointsman.bench.environment import Environment
from pointsman.bench.results import Backend, Benchmark, Kind, Run, Scenario

MACHINE = Environment(
    cpu="Imaginary 9000",
    architecture="x86_64",
    flags=("avx2", "avx512_vnni"),
    processors=4,
    usable=2,
    memory_bytes=8 << 30,
    system="Linux 6.1",
    python="3.11.7",
    packages={"numpy": "2.0", "onnxruntime": "1.27"},
    load=0.25,
)

SHORT = Scenario(Kind.LATENCY, 1, 1, (8,))
USUAL = Scenario(Kind.LATENCY, 1, 1, (16,))
MIX = Scenario(Kind.LATENCY, 1, 1, (8, 16, 64))
BATCH = Scenario(Kind.LATENCY, 2, 32, (32,))
BULK = Scenario(Kind.BULK, 2, 300)
COLD = Scenario(Kind.COLD_START, 2)

BACKENDS = (
    Backend("torch", "PyTorch eager", 100_000_000),
    Backend("torch_compile", "PyTorch compiled", skipped="left out of this set of scenarios"),
    Backend("plain", "plain ONNX export", 99_000_000),
    Backend("guide_quantized", "quantize_dynamic, QUInt8", 26_000_000),
    Backend("folded", "folded fp32", 90_000_000),
    Backend("int8", "folded int8", 24_000_000),
    Backend("folded_products", "bare matrix products of folded"),
    Backend("int8_products", "bare matrix products of int8"),
    Backend("guide_loop", "batch loop, plain ONNX"),
    Backend("route_many", "route_many, int8"),
    Backend("torch_program", "transformers + torch"),
    Backend("router_program", "Router"),
)

MS = {
    "torch": 30.0,
    "plain": 14.0,
    "guide_quantized": 11.0,
    "folded": 10.0,
    "int8": 5.0,
    "folded_products": 9.5,
    "int8_products": 4.0,
}


def small_benchmark() -> Benchmark:
    """Three rounds each, a millisecond figure per backend, longer inputs take longer."""
    runs = []
    for number in range(3):
        wobble = 1.0 + 0.01 * number
        for name, base in MS.items():
            limited = name.endswith("_products")
            for scenario in (USUAL, BATCH) if limited else (SHORT, USUAL, MIX, BATCH):
                work = scenario.batch * sum(scenario.lengths) / len(scenario.lengths) / 16
                calls = tuple(int(base * work * wobble * 1e6) for _ in range(6))
                runs.append(Run(name, scenario.name, number, (calls[0] * 2,), calls, 200 << 20))
        for name, seconds in (("guide_loop", 6.0), ("route_many", 1.0)):
            runs.append(Run(name, BULK.name, number, (), (int(seconds * wobble * 1e9),), 150 << 20))
        for name, seconds, mib in (("torch_program", 4.0, 500), ("router_program", 0.25, 100)):
            runs.append(Run(name, COLD.name, number, (), (int(seconds * wobble * 1e9),), mib << 20))
    return Benchmark(
        subject="toy (mobilebert)",
        command="pointsman bench ARTIFACT --reference CHECKPOINT",
        created="2026-01-01T00:00:00+00:00",
        environment=MACHINE,
        scenarios=(SHORT, USUAL, MIX, BATCH, BULK, COLD),
        backends=BACKENDS,
        runs=tuple(runs),
        facts={
            "available_threads": 2,
            "queries": {"n": 300, "tokens_p50": 14.0, "tokens_p90": 40.0, "tokens_p99": 90.0},
            "conversion": {"folded": {"steps": [{"name": "fold_nonorm", "sites": 42}]}, "note": "<b>&"},
            "parity": {"folded": {"label_agreement": 1.0}},
        },
    )
