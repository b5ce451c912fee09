"""What a first FastAPI server looks like: one blocking call in an `async def`, as in the conversion guide.

Environment: ARTIFACT (a directory with tokenizer.json), MODEL (the ONNX file in it).
"""

import os

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from transformers import AutoTokenizer

app = FastAPI()
tokenizer = AutoTokenizer.from_pretrained(os.environ["ARTIFACT"])
# One core, one thread: ONNX Runtime's own choice counts the machine's cores, and threads that spin on a core
# that they share would make this server a hundred times slower than it needs to be.
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(os.environ["MODEL"], options)


@app.post("/predict")
async def predict(query: str) -> dict[str, object]:
    inputs = tokenizer(query, return_tensors="np", padding=True, truncation=True, max_length=128)
    feed = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
    logits = session.run(None, feed)[0]
    odds = np.exp(logits - logits.max())
    return {
        "target": "cloud" if int(np.argmax(logits)) == 1 else "local",
        "confidence": float(np.max(odds / odds.sum())),
    }
