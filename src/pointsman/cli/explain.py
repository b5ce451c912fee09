"""Show why a query goes where it goes: score, thresholds, and the weight of each word.

Each word is left out once and the query is scored again. A positive weight (in log-odds) moves the score
towards the cloud, a negative one towards the local model. It explains the score, not why the query is hard.

Example: pointsman explain "Write a comprehensive business plan"
"""

import argparse
import json
from dataclasses import asdict

from pointsman.cli.parsing import whole
from pointsman.cli.policy_flags import add_router_flags, settings_of
from pointsman.evaluation.explanation import Explanation, explain
from pointsman.policy import Policy
from pointsman.progress import printable
from pointsman.runtime.router import Router

_BAR = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help="the query")
    add_router_flags(parser)
    parser.add_argument(
        "--top",
        type=whole(1),
        default=15,
        help="number of words to show, the largest weights first (default: 15)",
    )
    parser.add_argument("--json", action="store_true", help="everything as JSON")


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    router = Router.open(args.artifact, variant=args.variant, settings=settings)
    found = explain(router, args.text)
    print(_json(found, router.policy) if args.json else _readable(found, router.policy, args.top))
    return 0


def _json(found: Explanation, policy: Policy) -> str:
    return json.dumps(
        {
            "decision": asdict(found.decision),
            "policy": {**asdict(policy), "effective_threshold": policy.effective_threshold},
            "parts": [asdict(part) for part in found.parts],
            "thresholds": {f"{t:g}": target for t, target in found.thresholds.items()},
            "turn": {repr(t): target for t, target in found.turn.items()},
        },
        indent=2,
    )


def _readable(found: Explanation, policy: Policy, top: int) -> str:
    decision = found.decision
    lines = [
        f"target      {decision.target} ({decision.reason})",
        f"label       {decision.label}, confidence {decision.confidence:.3f}",
        f"p_cloud     {decision.p_cloud!r}",
        f"policy      cloud from p_cloud {policy.effective_threshold!r} on",
        f"            cloud threshold {policy.cloud_threshold:g}",
        f"            confidence threshold {policy.confidence_threshold:g}, safe target {policy.safe_target}",
        f"read        {decision.tokens} tokens" + (", the rest was cut off" if decision.truncated else ""),
    ]
    heaviest = sorted(found.parts, key=lambda part: -abs(part.weight))[:top]
    if heaviest:
        most = max(abs(part.weight) for part in heaviest) or 1.0
        width = min(40, max(len(part.text) for part in heaviest))
        lines += ["", "what each word weighs (log-odds; + speaks for cloud, - for local)"]
        for part in heaviest:
            bar = ("+" if part.weight > 0 else "-") * round(_BAR * abs(part.weight) / most)
            lines.append(f"  {printable(part.text)[:width]:<{width}}  {part.weight:+.3f}  {bar}")
    if found.turn:
        higher = ", with a higher one it would stay local" if len(found.turn) > 1 else ""
        lines.append("")
        lines.append(
            "without a confidence threshold: "
            f"with a cloud threshold of {decision.p_cloud!r} or less it would go to the cloud{higher}"
        )
    return "\n".join(lines)
