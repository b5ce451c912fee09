"""One graph that an export may publish; with the record of how it was made, or of why there is none."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import onnx


@dataclass(frozen=True, slots=True)
class Candidate:
    """One graph that may be published, or the reason why there is none.

    Attributes:
        variant: its name in the artifact: plain, folded, int8 or fp16.
        part: the key of its record in the manifest's `conversion`.
        record: how it was made; `refused` says why there is no graph.
        model: the graph; None where there is none to publish.
        must_hold: a failed gate ends the export; otherwise this variant alone is left out.
    """

    variant: str
    part: str
    record: Mapping[str, Any]
    model: onnx.ModelProto | None = None
    must_hold: bool = False

    def refused(self, reasons: Iterable[str]) -> "Candidate":
        """The same without its graph, with the reasons on record."""
        return replace(self, model=None, record={**self.record, "refused": "; ".join(reasons)})
