"""LitServe with its dynamic batching. Arguments: a directory with tokenizer.json, the ONNX file, a port."""

import sys

import litserve
import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self.tokenizer = Tokenizer.from_file(f"{sys.argv[1]}/tokenizer.json")
        self.tokenizer.enable_truncation(128)
        self.tokenizer.enable_padding()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(sys.argv[2], options)

    def decode_request(self, request: dict[str, str]) -> str:
        return request["query"]

    def predict(self, queries: list[str]) -> list[object]:
        encoded = self.tokenizer.encode_batch(queries)
        feed = {
            "input_ids": np.array([item.ids for item in encoded], np.int64),
            "attention_mask": np.array([item.attention_mask for item in encoded], np.int64),
        }
        return list(self.session.run(None, feed)[0])

    def encode_response(self, logits: np.ndarray) -> dict[str, object]:
        odds = np.exp(logits - logits.max())
        confidence = float(odds.max() / odds.sum())
        return {"target": "cloud" if int(np.argmax(logits)) == 1 else "local", "confidence": confidence}


if __name__ == "__main__":
    api = Classifier(max_batch_size=32, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[3]), host="127.0.0.1", generate_client_file=False, log_level="warning")
