"""Send the queries of your log to both models: the first step from traffic to a router of your own.

INPUT is one or more files of queries, as `batch` reads them: text under --column, or OpenAI-style
`messages`. Each distinct query is sent to the local and to the cloud upstream of a gateway configuration;
the answers, with tokens, money and time, are kept in the folder OUTPUT. A stored answer is never paid for
again: after an interruption, even kill -9, the same command continues. A row that a rule of the
configuration binds to one model (local-only, cloud-only) is counted and sent nowhere; what capture.redact
finds is sent as [redacted].

Examples:
  pointsman collect tickets.csv --column body --config gateway.toml --output work --dry-run
  pointsman collect 'logs/*.jsonl' --config gateway.toml --output work --sample 400 --budget 5
  pointsman collect --from-capture capture.jsonl --config gateway.toml --output work --yes
"""

import argparse
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointsman.cli.parsing import number, whole
from pointsman.cli.traffic_config import ask, consent, endpoint, read_text
from pointsman.errors import SettingsError
from pointsman.progress import tell

if TYPE_CHECKING:
    from pointsman.cli.privacy import Privacy
    from pointsman.traffic.endpoint import Call, Endpoint
    from pointsman.traffic.log import Log
    from pointsman.traffic.work import Query, Work


INCOMPLETE = 7
"""Exit code: some calls are left, because an endpoint failed or the budget ended."""
_SHOWN_BAD = 20
_MOST_CANDIDATES = 10_000
_MOST_UNASKED = 20_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", nargs="*", help="files or globs of queries")
    parser.add_argument("--column", default="query", help="column of the text (default: query)")
    parser.add_argument(
        "--from-capture",
        type=Path,
        nargs="+",
        default=[],
        help="files that the gateway captured",
    )
    parser.add_argument("--config", type=Path, required=True, help="TOML of the gateway, with both upstreams")
    parser.add_argument("--output", type=Path, required=True, help="the work folder")
    parser.add_argument(
        "--sample", type=whole(1), help="number of queries to ask, chosen to teach most (default: all)"
    )
    parser.add_argument(
        "--router", type=Path, help="today's router, for --sample (default: the configuration's)"
    )
    parser.add_argument("--system", type=Path, help="file of a system message, put before every query")
    parser.add_argument(
        "--samples", type=whole(1), default=1, help="answers of the local model to each query (default: 1)"
    )
    parser.add_argument("--concurrency", type=whole(1), default=4, help="calls in flight (default: 4)")
    parser.add_argument(
        "--max-tokens", type=whole(1), help="tokens of an answer at most (default: the endpoint's)"
    )
    parser.add_argument("--budget", type=number(), help="stop before more is spent, in the prices' currency")
    parser.add_argument("--currency", help="unit of the prices (default: the configuration's, or USD)")
    parser.add_argument("--seed", type=whole(0), default=0, help="seed of the sample (default: 0)")
    parser.add_argument("--dry-run", action="store_true", help="show the estimate and stop")
    parser.add_argument("--yes", action="store_true", help="agree to the estimate")
    parser.add_argument("--json", action="store_true", help="the summary as JSON")


def run(args: argparse.Namespace) -> int:
    from pointsman.cli.privacy import Privacy
    from pointsman.serve.settings_loader import load_settings
    from pointsman.traffic.asking import Limits
    from pointsman.traffic.capture import take_captured
    from pointsman.traffic.estimate import price_kept
    from pointsman.traffic.work import Work

    if bool(args.input) == bool(args.from_capture):
        raise SettingsError("give either files of queries or --from-capture.")
    settings = load_settings(None, args.config)
    args.currency = args.currency or settings.upstreams.currency
    local, cloud = endpoint(settings.upstreams.local, "local"), endpoint(settings.upstreams.cloud, "cloud")
    if cloud.price_in is None:
        tell("collect: prices are not known: set upstreams.cloud.price_in and price_out to see money")
    limits = Limits(args.concurrency, args.budget, args.currency)
    with Work.open(args.output, create=True) as work:
        privacy = Privacy.of_gateway(settings, work, (local.key, cloud.key))
        # Without consent the folder stays as it was: another file, column or system message may follow.
        with work.transaction():
            log = _read(args, settings, privacy)
            _keep_pair(args, work, local, cloud)
            # The folder may hold queries from before a rule was there.
            queries = privacy.queries(_choose(args, settings, log, work))
            calls = _calls(args, queries, local, cloud)
            if with_tools := _with_tools(queries):
                tell(f"collect: {with_tools:,} queries offer tools, which are sent on")
            taken = take_captured(work, log) if args.from_capture else set()
            price_kept(calls, work)
            calls = [call for call in calls if (call.query, call.role) not in taken]
            expect = consent(calls, work, limits, args)
            summary = _summary(args, work, log, queries, cloud)
            if expect is None:
                work.take_back()
        asked = None
        if expect is not None:
            asked = ask(calls, work, limits, expect)
            summary = _summary(args, work, log, queries, cloud)
    print(json.dumps(summary) if args.json else _readable(summary, args.output))
    return 0 if asked is None or asked.complete else INCOMPLETE


def _keep_pair(args: argparse.Namespace, work: "Work", local: "Endpoint", cloud: "Endpoint") -> None:
    """Note whose answers the folder holds: one pair's, asked in one way.

    Raises:
        SettingsError: it holds answers of another model, or to another system message.
    """
    for side, model in (("local", local.model), ("cloud", cloud.model)):
        if others := work.models(side) - {model}:
            raise SettingsError(
                f"{args.output} holds answers of {', '.join(sorted(others))}, and upstreams.{side}.model is "
                f"{model}. Collect into a new folder."
            )
    system = hashlib.sha256((read_text(args.system, "--system") or "").encode()).hexdigest()
    if work.fact("system") not in (None, system):
        raise SettingsError(
            f"{args.output} holds queries with another --system, or without one. Collect into a new folder."
        )
    work.set_fact("system", system)
    work.set_fact("pair", {"local": local.model, "cloud": cloud.model, "currency": args.currency})


def _calls(
    args: argparse.Namespace, queries: "list[Query]", local: "Endpoint", cloud: "Endpoint"
) -> "list[Call]":
    """Both answers of a query together, so that a stop leaves whole pairs."""
    from pointsman.traffic.endpoint import Call
    from pointsman.traffic.log import row_options
    from pointsman.traffic.trial import trial_first
    from pointsman.traffic.work import CLOUD_ROLE, LOCAL_ROLE

    parameters = {} if args.max_tokens is None else {"max_tokens": args.max_tokens}
    many = parameters if args.samples == 1 else {**parameters, "temperature": 1.0}
    calls = []
    for q in trial_first(queries):
        options = row_options(q.columns)
        calls.append(Call(q.id, CLOUD_ROLE, 0, cloud, q.messages, {**options, **parameters}))
        of_local = {**options, **many}
        calls += [Call(q.id, LOCAL_ROLE, at, local, q.messages, of_local) for at in range(args.samples)]
    return calls


def _with_tools(queries: "list[Query]") -> int:
    """How many queries offer tools."""
    from pointsman.traffic.log import row_options

    return sum(not {"tools", "functions"}.isdisjoint(row_options(query.columns)) for query in queries)


def _read(args: argparse.Namespace, settings: Any, privacy: "Privacy") -> "Log":
    from pointsman.artifact.address import open_artifact
    from pointsman.datasets.reading import read_rows
    from pointsman.datasets.rows import Columns
    from pointsman.datasets.sources import find_sources
    from pointsman.runtime.router import locate
    from pointsman.settings import Settings
    from pointsman.traffic.capture import capture_rows, captured_files
    from pointsman.traffic.log import read_log

    address = locate(args.router or settings.inference.artifact, Settings.load())
    chat = open_artifact(address).manifest.chat
    bad: list[str] = []
    columns = Columns(query=args.column, chat=chat)
    files = [Path(source.address) for source in find_sources(args.input)]
    rows: Iterable[tuple[str, Mapping[str, Any]]] = (
        (row.where, row.values) for path in files for row in read_rows(path, columns, bad)
    )
    if args.from_capture:
        captured = dict.fromkeys(file for path in args.from_capture for file in captured_files(path))
        rows = capture_rows(captured, bad)
    system = read_text(args.system, "--system")
    log = read_log(rows, columns, lambda said, row: privacy.sendable(said, row) is None, system, bad)
    for line in log.bad[:_SHOWN_BAD]:
        tell(f"bad row {line}")
    if len(log.bad) > _SHOWN_BAD:
        tell(f"... and {len(log.bad) - _SHOWN_BAD:,} more bad rows")
    if log.withheld:
        tell(f"collect: {log.withheld:,} rows are sent to no model, by a rule or a redaction")
    if log.without_tools:
        said = "chats offered tools that were not captured; they are asked without"
        tell(f"collect: {log.without_tools:,} {said}")
    return log


def _choose(args: argparse.Namespace, settings: Any, log: "Log", work: "Work") -> "list[Query]":
    """The queries to ask, with their weights; a second run of the same command finds the first one's."""
    size = args.sample
    said = hashlib.sha256("\0".join(q.id for q in log.queries).encode()).hexdigest()
    choice = {"queries": said, "sample": size, "seed": args.seed}
    known = work.fact("choice")
    if known is not None and known != choice and (known["sample"] or size):
        raise SettingsError(
            f"{args.output} holds a sample of another log, size or seed: its weights would not fit. "
            "Repeat the first command, or collect into a new folder."
        )
    if known != choice:
        if size is None or size >= len(log.queries):
            asked = [replace(q, weight=float(q.occurrences)) for q in log.queries]
            unasked: list[Query] = []
        else:
            asked, unasked = _sampled(args, settings, log, size)
        with work.transaction():
            work.add_queries([*asked, *unasked[:_MOST_UNASKED]])
            work.set_fact("choice", choice)
    return work.queries(sampled=True)


def _sampled(
    args: argparse.Namespace, settings: Any, log: "Log", size: int
) -> "tuple[list[Query], list[Query]]":
    """Queries with weights, and those that are not asked, in random order."""
    import numpy as np
    from sklearn.decomposition import PCA

    from pointsman.runtime.probability import cloud_probability
    from pointsman.runtime.router import Router
    from pointsman.traffic.sampling import inclusion, spread_sample
    from pointsman.train.teacher import Reading, embed, shipped_encoder

    rng = np.random.default_rng(args.seed)
    order = rng.permutation(len(log.queries))
    candidates = [log.queries[at] for at in sorted(order[:_MOST_CANDIDATES])]
    texts = [q.text for q in candidates]
    router = Router.open(args.router or settings.inference.artifact)
    p_cloud = cloud_probability(router.logits(texts), router.labels.cloud_index, router.manifest.calibration)
    reading = Reading(args.output / "cache", 128, tell)
    vectors = embed(texts, shipped_encoder(), reading).astype(np.float32)
    space = PCA(min(32, len(texts), vectors.shape[1]), random_state=args.seed).fit_transform(vectors)
    occurrences = np.array([q.occurrences for q in candidates], np.float64)
    probability = inclusion(p_cloud, router.policy.cloud_threshold, occurrences, size)
    chosen = set(spread_sample(space, probability, args.seed).tolist())
    scale = len(log.queries) / len(candidates)
    asked = [
        replace(q, weight=round(scale * q.occurrences / probability[at], 6))
        for at, q in enumerate(candidates)
        if at in chosen
    ]
    taken = {q.id for q in asked}
    return asked, [log.queries[at] for at in order if log.queries[at].id not in taken]


def _summary(
    args: argparse.Namespace, work: "Work", log: "Log", queries: "list[Query]", cloud: "Endpoint"
) -> dict[str, Any]:
    from pointsman.traffic.pairs import pairs_of
    from pointsman.traffic.work import CLOUD_ROLE, LOCAL_ROLE

    pairs, report = pairs_of(work)
    for_cloud = None if cloud.price_in is None else work.spent([CLOUD_ROLE])
    return {
        "rows": log.rows,
        "withheld": log.withheld,
        "bad_rows": len(log.bad),
        "distinct": len(log.queries),
        "chosen": len(queries),
        "with_tools": _with_tools(queries),
        "tools_left_out": log.without_tools,
        "answered_by_both": len(pairs),
        "refused_or_empty": report.refusals,
        "spent": {LOCAL_ROLE: work.spent([LOCAL_ROLE]), CLOUD_ROLE: for_cloud},
        "currency": args.currency,
    }


def _readable(summary: dict[str, Any], output: Path) -> str:
    spent = summary["spent"]
    money = "money unknown (no prices)"
    if None not in spent.values():
        money = f"{sum(spent.values()):.4g} {summary['currency']} spent so far"
    empty = "".join(
        f"\n{count:,} {role} answers are refused or empty"
        for role, count in summary["refused_or_empty"].items()
        if count
    )
    bad = f" ({summary['bad_rows']:,} bad)" if summary["bad_rows"] else ""
    return (
        f"{output}: {summary['rows']:,} rows{bad}, {summary['distinct']:,} distinct queries, "
        f"{summary['chosen']:,} chosen, {summary['answered_by_both']:,} answered by both models; "
        f"{money}{empty}"
    )
