"""Choose the threshold of a router: what each one does to quality and money, and what it gets wrong.

The table is measured on the rows of WORK, weighted as your traffic is. A row that taught ROUTER counts with
the score that it had before. The recommended row is marked; --output writes its threshold into an artifact,
which serves what the row says.

Examples:
  pointsman choose my-router work --per-month 100000
  pointsman choose my-router work --per-month 100000 --budget 250 --output my-router-250
"""

import argparse
import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointsman.cli.parsing import number
from pointsman.errors import SettingsError

if TYPE_CHECKING:
    from pointsman.fit.rows import Rows
    from pointsman.fit.thresholds import ThresholdRow
    from pointsman.runtime.router import Router


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("router", type=Path, help="an artifact")
    parser.add_argument("work", type=Path, help="the work folder")
    parser.add_argument("--per-month", type=number(), required=True, help="queries a month, for the money")
    parser.add_argument("--share", type=number(0, 1), help="share of queries for the cloud at most, 0..1")
    parser.add_argument(
        "--quality", type=number(0, 1), help="share of the cloud's lead to keep at least, 0..1"
    )
    parser.add_argument("--budget", type=number(), help="at most this a month, in the currency of `collect`")
    parser.add_argument("--output", type=Path, help="directory of a new artifact with this threshold")
    parser.add_argument("--json", action="store_true", help="everything as JSON")


def run(args: argparse.Namespace) -> int:
    from pointsman.artifact.address import open_artifact
    from pointsman.artifact.store import require_place
    from pointsman.fit.rows import read_rows
    from pointsman.fit.thresholds import costs_of, pick, served_scores, threshold_table, wrong_decisions
    from pointsman.runtime.router import Router
    from pointsman.traffic.work import Work

    asked = {"share": args.share, "quality": args.quality, "budget": args.budget}
    wish = {name: value for name, value in asked.items() if value is not None}
    if len(wish) > 1 or not args.per_month > 0.0:
        raise SettingsError("give one of --share, --quality, --budget, and --per-month above 0.")
    if args.output is not None:
        require_place(args.output)
    artifact = open_artifact(args.router)
    record = artifact.manifest.provenance.get("fit")
    with Work.open(args.work) as work:
        rows = read_rows(work)
        router = Router.open(artifact)
        p_cloud = served_scores(router, rows, work)
        currency = (work.fact("pair") or {}).get("currency", "USD")
    table = threshold_table(rows, p_cloud, costs_of(rows), args.per_month)
    chosen = None if record and not record["recommended"] and not wish else pick(table, **wish)
    wrong = {} if chosen is None else wrong_decisions(rows, p_cloud, chosen.threshold)
    found: dict[str, Any] = {
        "rows": len(rows.queries),
        "currency": currency,
        "table": [asdict(row) for row in table],
        "chosen": None if chosen is None else asdict(chosen),
        "wrong": wrong,
    }
    if chosen is not None and args.output is not None:
        _store(router, rows, chosen, wish, args.output)
    print(json.dumps(found) if args.json else _picture(found, table, chosen, args))
    return 0


def _store(
    router: "Router", rows: "Rows", chosen: "ThresholdRow", wish: dict[str, float], output: Path
) -> None:
    """The artifact with the chosen threshold, which is the one that is served."""
    from pointsman.evaluation.threshold import CURVE, ThresholdChoice, store

    policy = router.policy.overruled(cloud_threshold=chosen.threshold)
    figures = {"share": chosen.share, "quality": chosen.quality.value}
    record = {"asked": wish, "queries": len(rows.queries), "data_sha256": rows.dataset.sha256, **figures}
    choice = ThresholdChoice(policy, chosen.share, chosen.quality.value, record)
    store(router.artifact, output, None, choice, router.manifest.provenance.get(CURVE, {}))


def _picture(
    found: dict[str, Any],
    table: "list[ThresholdRow]",
    chosen: "ThresholdRow | None",
    args: argparse.Namespace,
) -> str:
    from pointsman.fit.thresholds import NO_PRICES

    wide = max(0, shutil.get_terminal_size((100, 24)).columns - 86)
    unit = f"{found['currency']} a month"
    lines = [
        f"{found['rows']:,} rows, scored before they were learned; {args.per_month:,.0f} queries a month",
        "",
        f"   threshold  to cloud  quality [95 % interval]  cloud's lead  {unit:>14}   saved",
    ]
    for row in table:
        quality = f"{row.quality.value:.3f} [{row.quality.low:.3f}, {row.quality.high:.3f}]"
        money = "-" if row.month is None else f"{row.month:,.2f}"
        saved = "-" if row.saved is None else f"{row.saved:.0%}"
        recovered = 0.0 if math.isnan(row.recovered) else min(1.0, max(0.0, row.recovered))
        cells = f"{row.threshold:9.3f}  {row.share:8.0%}  {quality:>23}  {row.recovered:12.0%}"
        mark = "->" if row is chosen else "  "
        lines.append(f"{mark} {cells}  {money:>14}  {saved:>6} {'█' * round(recovered * wide)}".rstrip())
    if chosen is None:
        lines += ["", "no row is recommended: `fit` did not find this router better than simpler rankings"]
    if any(row.month is None for row in table):
        lines += ["", NO_PRICES]
    elif any((row.saved or 0.0) < 0.0 for row in table):
        lines += ["", "at these prices an answer of the local model costs more than one of the cloud"]
    for kind, queries in found["wrong"].items():
        lines += ["", f"{kind}:"] + [f"  {' '.join(q.split())[:100]}" for q in queries or ["none"]]
    if chosen is not None and args.output is not None:
        lines += ["", f"{args.output}: cloud_threshold {chosen.threshold:.6f}"]
    return "\n".join(lines)
