"""The report of `pointsman evaluate` as Markdown: every number comes from the JSON beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pointsman.evaluation.quality import POOLED
from pointsman.policy import Policy

Report = Mapping[str, Any]

_CURVE = (
    ("apgr", "APGR, rank area"),
    ("apgr_paper", "APGR, paper"),
    ("apgr_code", "APGR, code"),
    ("cpt50", "CPT(50 %), paper"),
    ("cpt50_code", "CPT(50 %), code"),
    ("cpt80", "CPT(80 %), paper"),
    ("cpt80_code", "CPT(80 %), code"),
)


def render_markdown(report: Report) -> str:
    """The whole report; sections of what was not measured are left out."""
    parts = [_head(report)]
    if "sets" in report:
        parts += [_against(report), _curves(report), _decisions(report), _honesty(report), _shares(report)]
    parts += [_kinds(report), _everyday(report), _guide(report), _flips(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(report: Report) -> str:
    lines = [f"# {report['name']}: how well it routes", "", "Made by", "", f"    {report['command']}", ""]
    lines.append(
        f"Values with their 95 % interval (percentile bootstrap, {report['resamples']} resamples, seed "
        f"{report['seed']}). The raw numbers are in `evaluation.json`."
    )
    lines += [f"\n{note}" for note in report.get("notes", ())]
    return "\n".join(lines)


def _against(report: Report) -> str:
    sets, scorers = report["sets"], list(report["sets"][POOLED]["ranking"])
    parts = []
    for figure, title in (
        ("auc", 'AUC of "the strong answer is better"'),
        ("apgr", "APGR (area under the gap recovered, over the share of strong calls)"),
    ):
        rows = [
            [name, str(s["rows"]), *(_with_interval(s["ranking"][k]["figures"][figure]) for k in scorers)]
            for name, s in sets.items()
        ]
        parts.append(f"### {title}\n\n" + _table(["test set", "rows", *scorers], rows))
    differences = report.get("differences", {})
    if differences:
        rows = [[f"{report['router']} − {other}", _signed(d)] for other, d in differences.items()]
        parts.append("### Pooled APGR, difference on the same rows\n\n" + _table(["", "difference"], rows))
    return "## Against the baselines\n\n" + "\n\n".join(parts)


def _curves(report: Report) -> str:
    rows = [
        [name, *(_with_interval(s["ranking"][report["router"]]["figures"][key]) for key, _ in _CURVE)]
        for name, s in report["sets"].items()
    ]
    return (
        "## Cost and quality, by both definitions\n\n"
        "*Paper* and *code* are RouteLLM's; `pointsman.evaluation.curve` says how they differ.\n\n"
        + _table(["test set", *(title for _, title in _CURVE)], rows)
        + "\n\n![cost and quality](cost-quality.png)"
    )


def _decisions(report: Report) -> str:
    head = ["test set", "accuracy", "F1", "cloud share", "quality", "weak alone", "strong alone", "saved"]
    rows = []
    for name, s in report["sets"].items():
        f, curve = s["decisions"]["figures"], s["ranking"][report["router"]]["figures"]
        rows.append(
            [
                name,
                *(_with_interval(f[key]) for key in ("accuracy", "f1", "cloud_share", "quality")),
                f"{curve['weak']['value']:.3f}",
                f"{curve['strong']['value']:.3f}",
                _with_interval(f["saved"]),
            ]
        )
    prices = report["prices"]
    return (
        f"## Decisions at {_policy(report)}\n\n"
        f"*Saved* is against always calling the cloud, at {prices['local']:g} a local and "
        f"{prices['cloud']:g} a cloud query.\n\n" + _table(head, rows)
    )


def _honesty(report: Report) -> str:
    rows = [
        [
            name,
            _with_interval(s["decisions"]["figures"]["calibration_error"]),
            _with_interval(s["decisions"]["figures"]["brier"]),
            f"{s['cloud_is_better']:.3f}",
        ]
        for name, s in report["sets"].items()
    ]
    return (
        "## Calibration\n\n"
        + _table(["test set", "ECE (15 bins)", "Brier", "cloud is better"], rows)
        + "\n\n![reliability](reliability.png)"
    )


def _kinds(report: Report) -> str:
    rows = [
        [name, str(kind["rows"]), _with_interval(kind["calibration_error"])]
        for name, kind in report.get("kinds", {}).items()
    ]
    if len(rows) < 2:
        return ""
    return "## Calibration by kind of traffic\n\n" + _table(["traffic", "rows", "ECE (15 bins)"], rows)


def _shares(report: Report) -> str:
    rows = [
        [f"{s['asked']:.0%}", f"{s['threshold']:.3f}", f"{s['got']:.1%}"] for s in report.get("shares", ())
    ]
    if not rows:
        return ""
    return (
        "## Share asked for, share got\n\nThe threshold is chosen on a random half of the pooled test "
        "queries, and counted on the other half.\n\n" + _table(["asked", "threshold", "got"], rows)
    )


def _everyday(report: Report) -> str:
    rows = [
        [
            s["name"],
            *([s["source"]] if "source" in s else []),
            s["label"],
            str(s["rows"]),
            _with_interval(s["figures"]["label_right"]),
            _with_interval(s["figures"]["target_right"]),
            "-" if s["mean_p_cloud"] is None else f"{s['mean_p_cloud']:.3f}",
        ]
        for s in report.get("everyday", ())
    ]
    if not rows:
        return ""
    sources = ["source"] if any("source" in s for s in report["everyday"]) else []
    head = ["slice", *sources, "belongs", "rows", "label right", "target right", "mean p_cloud"]
    return (
        "## Everyday traffic\n\n*Label* is the model's own word (p_cloud of at least 0.5 is cloud); "
        f"*target* is where the policy sends it ({_policy(report)})."
        + (" *Source*: whether training read other texts of it." if sources else "")
        + "\n\n"
        + _table(head, rows)
    )


def _guide(report: Report) -> str:
    rows = [[r["query"], r["belongs"], r["label"], f"{r['confidence']:.3f}"] for r in report.get("guide", ())]
    if not rows:
        return ""
    return "## The guide's examples\n\n" + _table(["query", "belongs", "label", "confidence"], rows)


def _flips(report: Report) -> str:
    found = report.get("flips")
    if not found:
        return ""
    rows = [[name, _percent(value)] for name, value in found["figures"].items()]
    return (
        f"## Decisions that flip under edits\n\n{found['queries']} test queries, each edited once in each "
        "way; a flip is another target.\n\n" + _table(["edit", "flips"], rows)
    )


def _policy(report: Report) -> str:
    """The policy in one line: the threshold that is served, and what makes it."""
    policy = Policy(**report["policy"])
    return (
        f"p_cloud >= {policy.effective_threshold:g} (cloud_threshold {policy.cloud_threshold:g}, "
        f"confidence_threshold {policy.confidence_threshold:g}, safe target {policy.safe_target})"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _with_interval(found: Mapping[str, float]) -> str:
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _signed(found: Mapping[str, float]) -> str:
    return f"{found['value']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"


def _percent(found: Mapping[str, float]) -> str:
    return f"{found['value']:.2%} [{found['low']:.2%}, {found['high']:.2%}]"
