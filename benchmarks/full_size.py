"""Measure the full-size model, 24 blocks and 24.8 million parameters: every row of the figures to reach.

    python -m benchmarks.full_size --tokenizer DIR [--queries FILE] [--output DIR] [--quick]
    python -m benchmarks.full_size --tokenizer DIR --bert --quick     # BERT-base's shape: 12 layers of 768

The weights are random, from a seed, with norm scales around 1: right for speed, which does not depend on
their values, and for nothing else. The checkpoint lives in a temporary folder, says so in its name, is
exported without gates and is never a router. DIR holds the `tokenizer.json` of a trained checkpoint, so that
real queries have their real lengths.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SEED = 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True, help="a folder with tokenizer.json")
    parser.add_argument("--queries", type=Path, help="JSONL with a `query` a line; default: the shipped ones")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/full-size, or bert-base")
    parser.add_argument("--bert", action="store_true", help="BERT-base's shape instead of MobileBERT's")
    parser.add_argument("--blocks", type=int, help="fewer, to try the script")
    parser.add_argument("--quick", action="store_true", help="fewer shapes and calls")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        blocks = args.blocks or (12 if args.bert else 24)
        checkpoint = Path(folder) / f"random-weights-{blocks}-blocks"
        artifact = Path(folder) / "artifact"
        write_checkpoint(checkpoint, args.tokenizer, blocks, bert=args.bert)
        pointsman("export", checkpoint, "--output", artifact, "--no-validate")
        options = ["--quick"] if args.quick else []
        options += ["--queries", args.queries] if args.queries else []
        output = args.output or Path("benchmarks/results") / ("bert-base" if args.bert else "full-size")
        pointsman("bench", artifact, "--reference", checkpoint, "--output", output, *options)
    return 0


def write_checkpoint(path: Path, tokenizer: Path, blocks: int, *, bert: bool = False) -> None:
    """A MobileBERT or a BERT of the published sizes with random weights."""
    import torch
    from transformers import AutoModelForSequenceClassification, BertConfig, MobileBertConfig

    torch.manual_seed(SEED)
    labels = {"id2label": {0: "local", 1: "cloud"}, "label2id": {"local": 0, "cloud": 1}}
    config = (BertConfig if bert else MobileBertConfig)(num_hidden_layers=blocks, **labels)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm.weight" in name:
                parameter.uniform_(0.95, 1.05)
    model.save_pretrained(path)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, path / name)
    size = len(json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    if size > config.vocab_size:
        raise SystemExit(f"the tokenizer has {size} tokens, the model {config.vocab_size}")


def pointsman(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "pointsman", *map(str, words)], check=True)


if __name__ == "__main__":
    sys.exit(main())
