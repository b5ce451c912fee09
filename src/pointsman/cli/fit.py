"""Fit a router to a work folder: learn, export, calibrate, compare, report.

A ridge on the scores reads what the base makes of the queries, and their words. The router carries it
exactly: as a new last layer, and as word weights beside the network. Every row is judged by ridges that have
not seen its fold (near duplicates, or the values of --group, are in one): that calibrates the result, and
compares it with today's router, query length and a word ridge. Where it does not beat query length it says
so, and recommends nothing.

Example: pointsman fit work --output my-router
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pointsman.artifact.address import DEFAULT_ROUTER, checkpoint_at
from pointsman.cli.parsing import add_threads, whole
from pointsman.errors import SettingsError
from pointsman.progress import tell

if TYPE_CHECKING:
    from pointsman.fit.run import Fitted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("work", type=Path, help="the folder of `collect` and `judge`")
    parser.add_argument("--output", type=Path, required=True, help="directory of the new router")
    parser.add_argument(
        "--base",
        type=checkpoint_at,
        default=DEFAULT_ROUTER,
        help="directory of the checkpoint to start from (default: default-router, the shipped one)",
    )
    parser.add_argument("--router", type=Path, help="today's router (default: the shipped one)")
    parser.add_argument(
        "--group", metavar="COLUMN", help="rows of one value are judged by a ridge that saw none of them"
    )
    parser.add_argument(
        "--accept-agreement", action="store_true", help="fit although judge and person agree too little"
    )
    add_threads(parser)
    parser.add_argument("--seed", type=whole(0), default=0, help="of every random draw (default: 0)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(args: argparse.Namespace) -> int:
    from pointsman.fit.report import render_report
    from pointsman.fit.run import FitPlan, fit

    if not (args.base / "config.json").is_file():
        raise SettingsError(
            f"--base {args.base}: expected a checkpoint directory, such as `pointsman train` makes, "
            "or default-router."
        )
    plan = FitPlan(
        args.work,
        args.output,
        args.base,
        args.router,
        args.group,
        args.accept_agreement,
        args.threads,
        args.seed,
    )
    fitted = fit(plan, tell)
    report = args.work / f"report-{fitted.artifact.path.name}.html"
    report.write_text(render_report(fitted), encoding="utf-8")
    tell(f"fit: the report, with texts of your log: {report}")
    print(_json(fitted) if args.json else _readable(fitted))
    return 0


def _json(fitted: "Fitted") -> str:
    return json.dumps(
        {
            "artifact": str(fitted.artifact.path),
            "recommended": fitted.recommended,
            "sentence": fitted.sentence,
            "from_words": fitted.learned.fit.from_words,
            "compared": {name: asdict(one) for name, one in fitted.learned.compared.items()},
            "agreement": None if fitted.agreement is None else asdict(fitted.agreement),
        }
    )


def _readable(fitted: "Fitted") -> str:
    lines = [
        f"{fitted.artifact.path}: {fitted.learned.fit.from_words:.0%} words, the rest the base",
        fitted.sentence,
        "",
    ]
    lines.append(f"{'APGR on rows that the ridge had not seen':44} {'lead of the fitted router':>28}")
    for name, one in fitted.learned.compared.items():
        lead = f"{one.lead.value:+.3f} [{one.lead.low:+.3f}, {one.lead.high:+.3f}]"
        shown = f"{one.apgr.value:.3f} [{one.apgr.low:.3f}, {one.apgr.high:.3f}]"
        lines.append(f"  {name:26} {shown:>20} {lead if one.lead.high != one.lead.low else '':>28}")
    return "\n".join(lines)
