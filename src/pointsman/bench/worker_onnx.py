"""The worker that runs a file as its users would without this package: ONNX Runtime's own defaults.

`kind` says what to open: `onnx` (a session with nothing set but the threads), `loop` (the usual batch
loop: the transformers tokenizer, 32 texts in arrival order, padded to the longest), `products` (a graph
of bare matrix products, buffers bound before the clock starts).
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pointsman.bench.worker import Subject, serve
from pointsman.errors import InputError
from pointsman.runtime.session import named_feed

BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class StockSubject(Subject):
    """A session with stock options, and a tokenizer where there are texts to read."""

    infer: Callable[[dict[str, NDArray[Any]]], Any]
    inputs: tuple[str, ...]
    tokenizer: Callable[..., Any] | None
    max_tokens: int

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> object:
        """One batch to logits: int64 (batch, length), twice."""
        return self.infer(named_feed(self.inputs, input_ids, attention_mask))

    def bulk(self, texts: list[str]) -> object:
        """Texts to class and confidence, in batches of 32 in arrival order, padded to the longest of each."""
        if self.tokenizer is None:
            raise InputError("bulk: this backend was opened without a tokenizer.")
        found: list[tuple[int, float]] = []
        for begin in range(0, len(texts), BATCH_SIZE):
            feed = self.tokenizer(
                texts[begin : begin + BATCH_SIZE],
                return_tensors="np",
                padding=True,
                truncation=True,
                max_length=self.max_tokens,
            )
            logits = np.asarray(self.run(feed["input_ids"], feed["attention_mask"]))
            exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
            probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
            found.extend(
                zip(probabilities.argmax(axis=1).tolist(), probabilities.max(axis=1).tolist(), strict=True)
            )
        return found


@dataclass(frozen=True, slots=True)
class ProductsSubject(Subject):
    """A graph of bare matrix products with its buffers bound; what it is fed does not matter."""

    session: ort.InferenceSession
    binding: ort.IOBinding

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> object:
        """All products once."""
        return self.session.run_with_iobinding(self.binding)


@dataclass(frozen=True, slots=True)
class AnyProducts(Subject):
    """The products of several shapes: the one that fits the batch is run."""

    by_shape: Mapping[tuple[int, ...], ProductsSubject]

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> object:
        """All products of a batch of this shape, once."""
        return self.by_shape[input_ids.shape].run(input_ids, attention_mask)


def open_stock(settings: Mapping[str, Any]) -> Subject:
    """Open what `kind` says, on `threads`."""
    kind, threads = settings["kind"], settings["threads"]
    if kind == "products":
        files: Mapping[str, str] = settings["files"]
        shapes = {tuple(int(size) for size in name.split("x")): path for name, path in files.items()}
        return AnyProducts({shape: _open_products(path, threads) for shape, path in shapes.items()})
    session = _session(settings["model"], threads)
    inputs = tuple(item.name for item in session.get_inputs())
    tokenizer = _tokenizer(settings["checkpoint"]) if kind == "loop" else None
    return StockSubject(
        lambda feed: session.run(None, feed)[0], inputs, tokenizer, settings.get("max_tokens", 128)
    )


def _session(path: str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _tokenizer(checkpoint: str) -> Callable[..., Any]:
    transformers = importlib.import_module("transformers")
    tokenizer: Callable[..., Any] = transformers.AutoTokenizer.from_pretrained(checkpoint)
    return tokenizer


def _open_products(path: str, threads: int) -> ProductsSubject:
    """Open a graph of products: random inputs, and one shared output buffer per shape, all bound once."""
    session = _session(path, threads)
    binding = session.io_binding()
    random = np.random.default_rng(0)
    shared: dict[tuple[int, ...], ort.OrtValue] = {}
    for item in session.get_inputs():
        values: NDArray[Any] = (
            random.standard_normal(item.shape).astype(np.float32)
            if item.type == "tensor(float)"
            else random.integers(0, 100, item.shape).astype(_DTYPES[item.type])
        )
        binding.bind_ortvalue_input(item.name, ort.OrtValue.ortvalue_from_numpy(values))
    for item in session.get_outputs():
        dtype = _DTYPES[item.type]
        key = (*item.shape, dtype.num)
        if key not in shared:
            shared[key] = ort.OrtValue.ortvalue_from_numpy(np.zeros(item.shape, dtype))
        binding.bind_ortvalue_output(item.name, shared[key])
    return ProductsSubject(session, binding)


_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(int32)": np.dtype(np.int32),
}

if __name__ == "__main__":
    serve(open_stock)
