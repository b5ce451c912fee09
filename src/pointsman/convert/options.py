"""What an export may be asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pointsman.errors import ConversionError

DEFAULT_OPSET = 18
OLDEST_OPSET, NEWEST_OPSET = 14, 23

SAFE_LIMIT, FULL_LIMIT = 63, 127
"""Largest magnitude of an int8 weight: one that cannot saturate on any CPU, and all that 8 bits hold."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the graph accepts: any batch and length, or exactly one shape."""

    batch: int | None = None
    sequence: int | None = None

    @property
    def is_fixed(self) -> bool:
        """Whether both are given."""
        return self.batch is not None and self.sequence is not None


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to export; the defaults are what most users want.

    Attributes:
        opset: of the plain file, 14..23.
        max_tokens: tokens of a text that the artifact reads at most, at least 2.
        shape: dynamic axes, or one fixed shape for the plain file.
        fold: write the folded float file (or, for other architectures, what ONNX Runtime's optimizer fuses).
        quantize: write the int8 file, if it passes its gates.
        half: write a float16 file for GPUs.
        validate: run the parity gates; without them nothing says that the artifact is the checkpoint.
        measure: choose the default variant by a short measurement on this machine.
        plain: keep the plain file in the artifact.
        slim: keep only the variant that a router runs.
        weight_limit: largest magnitude of an int8 weight, 63 or 127; 127 saturates on AVX2 without VNNI.
        calibration_file: JSONL of queries to calibrate int8 on; None takes the project's own.
        queries_file: JSONL of queries to prove parity on; None takes the project's own.
        threads: of the measurements and the proof.
        name: of the artifact; None takes the checkpoint directory's.
        labels: which of the checkpoint's labels mean `local` and `cloud`; empty where it says so itself.

    Raises:
        ConversionError: an opset that no exporter writes, or what is no whole number.
    """

    opset: int = DEFAULT_OPSET
    max_tokens: int = 128
    shape: Shape = field(default_factory=Shape)
    fold: bool = True
    quantize: bool = True
    half: bool = False
    validate: bool = True
    measure: bool = True
    plain: bool = True
    slim: bool = False
    weight_limit: int = SAFE_LIMIT
    calibration_file: Path | None = None
    queries_file: Path | None = None
    threads: int = 1
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("opset", "max_tokens", "threads"):
            if not isinstance(value := getattr(self, name), int):
                raise ConversionError(f"{name}: expected a whole number, found {value!r}.")
        if not OLDEST_OPSET <= self.opset <= NEWEST_OPSET:
            raise ConversionError(
                f"opset {self.opset}: expected {OLDEST_OPSET}..{NEWEST_OPSET} "
                f"({DEFAULT_OPSET}, the default, has the widest reach)."
            )
