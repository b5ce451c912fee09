"""Score the answers of a work folder: by a check, or by a judge that sees each pair in both orders.

Checks come first and cost nothing: --mode check --check number --expected answer. What is left goes to a
judge, any OpenAI-compatible model: pairwise (both orders; a verdict that changes with the order is a tie,
and a tie means that the local answer is good enough), or against a reference in a column of yours. Every
verdict is stored and never paid for again. The scores stand in WORK/judged.jsonl, which train, calibrate
and evaluate read.

Examples:
  pointsman judge work --mode check --check choice --expected key
  pointsman judge work --judge-url https://api.openai.com/v1 --judge-model gpt-4o-mini \\
      --judge-key-env OPENAI_API_KEY
  pointsman judge work --show-prompt --rubric rubric.txt
"""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointsman.cli.collect import INCOMPLETE
from pointsman.cli.parsing import number, whole
from pointsman.cli.traffic_config import ask, consent, read_text
from pointsman.errors import SettingsError
from pointsman.progress import tell

if TYPE_CHECKING:
    from pointsman.traffic.asking import Limits
    from pointsman.traffic.endpoint import Call, Endpoint
    from pointsman.traffic.estimate import Expectation
    from pointsman.traffic.judging import Judging
    from pointsman.traffic.pairs import JudgeReport, Pair
    from pointsman.traffic.work import Answer, Work


_KINDS = ("exact", "number", "choice", "regex", "json-schema")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("work", type=Path, help="the folder that `collect` made")
    parser.add_argument("--mode", choices=("pairwise", "reference", "check"), default="pairwise")
    parser.add_argument("--check", choices=_KINDS, help="how --mode check decides")
    parser.add_argument(
        "--expected", metavar="COLUMN", help="column of the right answer, number, pattern or schema"
    )
    parser.add_argument("--judge-url", help="address of the judge's service, up to /v1")
    parser.add_argument("--judge-model", help="name of the judge there")
    parser.add_argument("--judge-key-env", help="the environment variable that holds its key")
    parser.add_argument(
        "--judge-price-in", type=number(), help="price of a million prompt tokens, in `collect`'s currency"
    )
    parser.add_argument("--judge-price-out", type=number(), help="price of a million completion tokens")
    parser.add_argument("--rubric", type=Path, help="file that says what matters in your answers")
    parser.add_argument("--show-prompt", action="store_true", help="print the judge's prompt, and stop")
    parser.add_argument(
        "--again",
        action="store_true",
        help="judge rows that have scores, too, and ask anew for verdicts that did not come",
    )
    parser.add_argument("--concurrency", type=whole(1), default=4, help="calls in flight (default: 4)")
    parser.add_argument(
        "--budget", type=number(), help="stop before more than this is spent, in that currency"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the estimate and stop")
    parser.add_argument("--yes", action="store_true", help="agree to the estimate")
    parser.add_argument("--json", action="store_true", help="the report as JSON")


def run(args: argparse.Namespace) -> int:
    from pointsman.traffic.judged import write_rows
    from pointsman.traffic.judging import judge_by_check
    from pointsman.traffic.pairs import require_column, require_pairs
    from pointsman.traffic.prompts import load_prompt
    from pointsman.traffic.work import Work

    if args.show_prompt:
        prompt = load_prompt(
            "pairwise" if args.mode == "check" else args.mode, read_text(args.rubric, "--rubric") or ""
        )
        print(f"{prompt.instructions}\n---\n{prompt.form}\n---\nversion {prompt.digest}")
        return 0
    if (args.mode == "check") != (args.check is not None) or (args.mode != "pairwise") != (
        args.expected is not None
    ):
        raise SettingsError(
            "--mode check needs --check and --expected, --mode reference needs --expected, pairwise neither."
        )
    with Work.open(args.work) as work:
        pairs, report = require_pairs(work)
        pairs = pairs if args.again else _without_other_modes(pairs, work, args.mode)
        complete: bool | None = True
        if args.expected is not None and pairs:
            require_column(pairs, args.expected)
        if args.mode == "check":
            judge_by_check(work, pairs, args.check, args.expected, report)
        else:
            complete = _by_judge(args, work, pairs, report)
        if complete is None:
            return 0
        facts = {**report.facts(), "rows": write_rows(work), "currency": _currency(work)}
        work.set_fact("judging", facts)
    print(json.dumps(facts) if args.json else _readable(facts, args.work))
    return 0 if complete else INCOMPLETE


def _without_other_modes(pairs: "list[Pair]", work: "Work", mode: str) -> "list[Pair]":
    """The pairs that nothing has judged in another mode."""
    modes = {key: detail.get("mode", "check") for key, (*_, detail) in work.judgements().items()}
    return [pair for pair in pairs if modes.get(pair.query.id, mode) == mode]


def _by_judge(
    args: argparse.Namespace, work: "Work", pairs: "list[Pair]", report: "JudgeReport"
) -> bool | None:
    """Ask the judge, twice where a reply is no verdict; whether all was asked, None without consent."""
    from pointsman.cli.privacy import Privacy
    from pointsman.traffic.asking import Limits
    from pointsman.traffic.estimate import price_kept
    from pointsman.traffic.judging import Judging
    from pointsman.traffic.prompts import load_prompt
    from pointsman.traffic.trial import trial_first

    judge = _judge(args)
    pair = work.fact("pair") or {}
    if judge.model == pair.get("cloud"):
        tell(f"judge: {judge.model} judges its own answers: it may favour them. Label some rows yourself.")
    limits = Limits(args.concurrency, args.budget, _currency(work))
    prompt = load_prompt(args.mode, read_text(args.rubric, "--rubric") or "")
    judging = Judging(prompt, judge, args.expected)
    pairs = Privacy.of_work(work, [judge.key]).pairs(pairs, args.expected, report)
    calls = judging.calls(trial_first(pairs))
    with work.transaction():
        if args.again:
            unread = (call.key for call, _, verdict in judging.replies(calls, work) if verdict is None)
            work.set_aside(unread)
        price_kept(calls, work)
        expect = consent(calls, work, limits, args)
        if expect is None:
            work.take_back()
            return None
    complete = _ask(judging, calls, work, limits, expect)
    judging.keep_scores(work, pairs, report)
    if judge.price_in is not None:
        report.spent = work.spent({call.role for call in calls})
    return complete


def _ask(
    judging: "Judging", calls: "list[Call]", work: "Work", limits: "Limits", expect: "Expectation"
) -> bool:
    """Ask for every verdict, at first in small parts, until there is one; whether all was asked.

    Raises:
        DataError: a trial's queries were judged, each twice, and no reply has a verdict.
    """
    from pointsman.traffic.estimate import expectation
    from pointsman.traffic.trial import TRIAL

    left, complete = calls, True
    replies = judging.replies(calls, work)
    while left:
        is_proven = any(verdict for *_, verdict in replies)
        some = {*list(dict.fromkeys(call.query for call in left))[: None if is_proven else TRIAL]}
        part, left = ([c for c in left if (c.query in some) == now] for now in (True, False))
        asked = [ask(part, work, limits, expect)]
        if not asked[0].out_of_budget and (again := judging.second_tries(part, work)):
            # They were agreed to with the first.
            tell(f"judge: {len(again):,} replies have no verdict: asking for it once more")
            asked.append(ask(again, work, limits, expectation(again, work)))
        complete = complete and all(one.complete for one in asked)
        replies = judging.replies(calls, work)
        if any(one.out_of_budget for one in asked):
            return False
        _require_verdict(judging, replies, work)
    if unread := [reply for _, reply, verdict in replies if verdict is None]:
        tell(f"judge: not every reply has a verdict. {judging.advice(unread[-1])}")
    return complete


def _require_verdict(
    judging: "Judging", replies: "list[tuple[Call, Answer, str | None]]", work: "Work"
) -> None:
    from pointsman.errors import DataError
    from pointsman.traffic.trial import TRIAL

    # Asked twice: the second time with the first reply.
    tried = {call.query for call, *_ in replies if call.messages[-2]["role"] == "assistant"}
    if len(tried) >= TRIAL and not any(verdict for *_, verdict in replies):
        work.set_aside(call.key for call, *_ in replies)
        raise DataError(
            f"{len(tried)} queries were judged, and no reply of {judging.judge.model} has a verdict. "
            f"{judging.advice(replies[-1][1])} No further calls were made; the same command asks again."
        )


def _currency(work: "Work") -> str:
    return str((work.fact("pair") or {}).get("currency", "USD"))


def _judge(args: argparse.Namespace) -> "Endpoint":
    from pointsman.traffic.endpoint import Endpoint

    if not args.judge_url or not args.judge_model:
        raise SettingsError("a judge needs --judge-url and --judge-model; --mode check needs none.")
    if not args.judge_url.startswith(("http://", "https://")):
        raise SettingsError(f"--judge-url: expected http:// or https://, found {args.judge_url!r}.")
    key = os.environ.get(args.judge_key_env, "") if args.judge_key_env else ""
    if args.judge_key_env and not key:
        raise SettingsError(f"--judge-key-env: the variable {args.judge_key_env} is not set.")
    if (args.judge_price_in is None) != (args.judge_price_out is None):
        raise SettingsError("give both --judge-price-in and --judge-price-out, per million tokens.")
    return Endpoint(args.judge_url, args.judge_model, key, args.judge_price_in, args.judge_price_out)


def _readable(facts: dict[str, Any], work: Path) -> str:
    lines = [
        f"{work}: {facts['judged']:,} rows judged now, {facts['rows']:,} rows with scores in judged.jsonl"
    ]
    lines += [f"  {count:,} rows without scores: {reason}" for reason, count in facts["unjudged"].items()]
    named = {"local": "local was better", "cloud": "cloud was better", "tie": "as good as each other"}
    lines += [f"  {facts['verdicts'].get(v, 0):,} rows: {words}" for v, words in named.items()]
    for name, words in (
        ("flipped", "of the pairs turned with the order, and count as ties"),
        ("first_won", "of the decided verdicts went to the answer shown first (50 % is fair)"),
        ("longer_won", "of the decided pairs went to the longer answer"),
    ):
        if facts[name] is not None:
            lines.append(f"  {facts[name]:.0%} {words}")
    if facts["spent"] is not None:
        lines.append(f"  {facts['spent']:.4g} {facts['currency']} spent on the judge so far")
    if facts["unread"]:
        lines.append(f"  {facts['unread']:,} replies had no verdict, twice")
    lines += [f"  {n:,} {role} answers were refused or empty" for role, n in facts["refusals"].items() if n]
    return "\n".join(lines)
