"""Compare answers yourself, on a local page: blind, shuffled, by keyboard.

The page shows a query and both answers without saying whose they are, doubtful rows first. Keys: 1 and 2
for the better answer, = for equally good, s to skip, u to undo. Every verdict is stored at once, overrides
the judge's in WORK/judged.jsonl, and is compared with it at the end: Cohen's kappa with its interval, and
both kinds of error.

Example: pointsman label work
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from pointsman.cli.parsing import whole
from pointsman.progress import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("work", type=Path, help="the folder of `collect`")
    parser.add_argument("--port", type=whole(0, 65535), default=0, help="on 127.0.0.1 (default: a free one)")
    parser.add_argument("--json", action="store_true", help="the agreement as JSON")


def run(args: argparse.Namespace) -> int:
    from pointsman.traffic.agreement import agreement
    from pointsman.traffic.judged import write_rows
    from pointsman.traffic.labelling import Labelling, serve_page
    from pointsman.traffic.work import Work

    with Work.open(args.work) as work:
        session = Labelling.over(work)
        try:
            serve_page(session, args.port, lambda address: tell(f"open {address} (Ctrl-C ends it, too)"))
        except KeyboardInterrupt:
            tell("")
        rows = write_rows(work)
        found = agreement(work)
    if args.json:
        print(json.dumps({"rows": rows, "agreement": None if found is None else asdict(found)}))
    else:
        print(f"{args.work}: {rows:,} rows with scores")
        print("no row has both verdicts yet" if found is None else found.sentence)
    return 0
