"""Decide where queries go: local or cloud.

With TEXT each argument is a query; without, every line of standard input is one, answered in order and in
constant memory. Without --artifact the router is the one that BERT_MODEL_FULLPATH or BERT_MODEL_PATH names,
or else the one that is shipped with the package.

Examples:
  pointsman route "Thanks for your help"
  pointsman route --json < queries.txt > decisions.jsonl
"""

import argparse
import json
import sys
from itertools import tee

from pointsman.cli.policy_flags import add_router_flags, settings_of
from pointsman.decision import Decision
from pointsman.progress import printable
from pointsman.runtime.router import STREAM_CHUNK, Router

_SHOWN_CHARS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="*", help="queries (default: one per line from standard input)")
    add_router_flags(parser)
    parser.add_argument("--max-length", help="tokens of a text at most; the rest is cut off")
    parser.add_argument("--threads", help="threads (default: all processors)")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args, max_tokens=args.max_length, threads=args.threads)
    router = Router.open(args.artifact, variant=args.variant, settings=settings)
    if not args.text:
        # Bytes that are no UTF-8 must not end a stream of a million lines; a bare CR does not end a line.
        sys.stdin.reconfigure(errors="replace", newline="\n")  # type: ignore[union-attr]
    texts = args.text or (line.rstrip("\r\n") for line in sys.stdin)
    chunk = 1 if not args.text and sys.stdin.isatty() else STREAM_CHUNK
    shown, asked = tee(texts)
    for text, decision in zip(shown, router.route_stream(asked, chunk), strict=False):
        print(_json(text, decision) if args.json else _readable(text, decision), flush=chunk == 1)
    return 0


def _json(text: str, decision: Decision) -> str:
    return json.dumps({"query": text, **decision.to_dict()})


def _readable(text: str, decision: Decision) -> str:
    text = text.replace("\n", "\ufffd")
    shown = text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
    truncated = ", truncated" if decision.truncated else ""
    return (
        f"{decision.target:5}  {printable(shown)}  "
        f"({decision.label} {int(100 * decision.confidence)}% sure, {decision.reason}{truncated})"
    )
