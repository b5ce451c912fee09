"""Turn a trained checkpoint into a verified ONNX router.

CHECKPOINT is a Hugging Face directory with config.json (id2label: local, cloud), model.safetensors and
tokenizer.json. The result is one directory: a plain file for other runtimes, a folded float32 file, an int8
file, tokenizer, manifest, parity report and model card. It is written whole or not at all, and never
without parity: an int8 file that fails its gates is left out, and the report says why.

Examples:
  pointsman export default-router --output router
  pointsman export my-router --max-length 256 --int8-queries my-queries.jsonl
  pointsman export my-router --labels weak=local,strong=cloud
  pointsman export my-router --slim          # keep only the file that a router runs
"""

import argparse
import json
from pathlib import Path

from pointsman.artifact.address import checkpoint_at
from pointsman.cli.deprecated import add_renamed_flag
from pointsman.cli.parsing import add_threads, whole
from pointsman.convert.options import FULL_LIMIT, SAFE_LIMIT, ExportOptions, Shape
from pointsman.errors import SettingsError
from pointsman.labels import TARGETS
from pointsman.progress import tell

_SWITCHES = {
    "--no-optimize": "leave out the folded float32 file",
    "--no-quantize": "leave out the int8 file",
    "--no-validate": "skip the parity gates; the manifest says so",
    "--no-benchmark": "do not measure which variant is fastest here",
    "--no-plain": "leave out the plain file",
    "--fp16": "write a float16 file for GPUs, too",
    "--slim": "keep only the variant that a router runs",
    "--full-range": "int8 weights up to 127 instead of 63: finer, but saturates on processors with AVX2 and "
    "no VNNI",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="directory of a trained classifier, or default-router")
    parser.add_argument("--output", type=Path, help="directory of the artifact (default: CHECKPOINT-onnx)")
    parser.add_argument(
        "--opset", type=whole(14, 23), default=18, help="opset of the plain file, 14..23 (default: 18)"
    )
    parser.add_argument(
        "--max-length", type=whole(2), default=128, help="tokens of a text at most (default: 128)"
    )
    parser.add_argument(
        "--fixed-shape",
        type=parse_shape,
        default=Shape(),
        metavar="BxS",
        help="one fixed shape for the plain file, for example 1x128",
    )
    for name, words in _SWITCHES.items():
        parser.add_argument(name, action="store_true", help=words)
    add_renamed_flag(
        parser, "--int8-queries", "--calibration", type=Path, help="file of queries that set the int8 ranges"
    )
    parser.add_argument("--queries", type=Path, help="file of queries for the parity gates")
    parser.add_argument(
        "--labels",
        metavar="NAME=local,NAME=cloud",
        type=parse_labels,
        default={},
        help="which of the checkpoint's labels means what",
    )
    add_threads(parser)
    parser.add_argument("--name", help="name of the artifact (default: the checkpoint's directory)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    from pointsman.convert.build import export

    options = ExportOptions(
        opset=args.opset,
        max_tokens=args.max_length,
        shape=args.fixed_shape,
        fold=not args.no_optimize,
        quantize=not args.no_quantize,
        half=args.fp16,
        validate=not args.no_validate,
        measure=not args.no_benchmark,
        plain=not args.no_plain,
        slim=args.slim,
        weight_limit=FULL_LIMIT if args.full_range else SAFE_LIMIT,
        calibration_file=args.int8_queries,
        queries_file=args.queries,
        threads=args.threads,
        name=args.name,
        labels=args.labels,
    )
    checkpoint, given = checkpoint_at(args.checkpoint).resolve(), args.checkpoint.resolve()
    output = args.output or given.parent / f"{given.name}-onnx"

    exported = export(checkpoint, output, options, tell)
    manifest = exported.artifact.manifest
    if args.json:
        print(json.dumps({"path": str(exported.artifact.path), "id": manifest.id, **manifest.to_dict()}))
    else:
        print(exported.artifact.path)
    return 0


def parse_labels(text: str) -> dict[str, str]:
    """`weak=local,strong=cloud` to a table.

    Raises:
        SettingsError: not two names, one for each target.
    """
    pairs = [part.rpartition("=") for part in text.split(",")]
    names = {name.strip(): target.strip().lower() for name, _, target in pairs if name.strip()}
    if len(pairs) != len(TARGETS) or sorted(names.values()) != sorted(TARGETS):
        raise SettingsError(f"--labels: expected NAME=local,NAME=cloud, found {text!r}.")
    return names


def parse_shape(text: str) -> Shape:
    """`BxS` to a shape.

    Raises:
        SettingsError: not two whole numbers of at least 1 with an x between.
    """
    batch, _, sequence = text.lower().partition("x")
    if not (batch.isdecimal() and sequence.isdecimal() and int(batch) and int(sequence)):
        raise SettingsError(f"--fixed-shape: expected BATCHxTOKENS such as 1x128, found {text!r}.")
    return Shape(int(batch), int(sequence))
