"""The worker that runs a file in OpenVINO, by its latency hint or by its throughput hint.

`python -m pointsman.bench.worker_openvino`, driven over standard input by the benchmark runner.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.bench.worker import Feed, Subject, serve
from pointsman.runtime.session import named_feed


@dataclass(frozen=True, slots=True)
class OpenVinoSubject(Subject):
    """A compiled model with one request for a lone batch, and as many as the hint plans for more."""

    names: tuple[str, ...]
    request: Any
    queue: Any

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> object:
        """One batch to logits: int64 (batch, length), twice."""
        return self.request.infer(named_feed(self.names, input_ids, attention_mask))[0].copy()

    def many(self, feeds: Sequence[Feed]) -> object:
        """Batches through OpenVINO's own queue."""
        for feed in feeds:
            self.queue.start_async(named_feed(self.names, *feed))
        self.queue.wait_all()
        return None


def open_openvino(settings: Mapping[str, Any]) -> Subject:
    """Open `model` on `threads` by `hint`, which is LATENCY or THROUGHPUT."""
    openvino = import_module("openvino")
    options = {
        "INFERENCE_NUM_THREADS": settings["threads"],
        "PERFORMANCE_HINT": settings["hint"],
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = openvino.Core().compile_model(settings["model"], "CPU", options)
    names = tuple(item.get_any_name() for item in compiled.inputs)
    return OpenVinoSubject(names, compiled.create_infer_request(), openvino.AsyncInferQueue(compiled))


if __name__ == "__main__":
    serve(open_openvino)
