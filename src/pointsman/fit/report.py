"""The result of a fit as one HTML file that needs nothing else. It holds texts of the log: keep it local."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

import numpy as np

from pointsman.evaluation.bootstrap import Interval
from pointsman.evaluation.curve import cost_quality_curve
from pointsman.evaluation.metrics import reliability
from pointsman.fit.comparison import FITTED
from pointsman.fit.rows import Floats, Rows
from pointsman.fit.run import Fitted
from pointsman.fit.thresholds import NO_PRICES, Costs, costs_of, threshold_table, wrong_decisions

_WIDTH, _HEIGHT, _MARGIN = 560, 300, 56
_COLOURS = ("var(--ours)", "var(--other)", "var(--aim)", "var(--bad)")
_PER = 1000.0
"""Number of queries that amounts of money are shown for."""


def render_report(fitted: Fitted) -> str:
    """The whole report, as one page."""
    css = files("pointsman.fit").joinpath("report.css").read_text(encoding="utf-8")
    rows, p_cloud = fitted.learned.rows, fitted.p_cloud
    costs, pair = costs_of(rows), fitted.facts.get("pair") or {}
    currency = str(pair.get("currency", "USD"))
    sections = [
        ("Beside simpler rankings", _comparison(fitted)),
        ("Cost and quality", _curves(fitted, rows, costs, currency)),
        ("Thresholds", _thresholds(rows, p_cloud, costs, currency)),
        ("Are its probabilities honest?", _reliability(rows, p_cloud)),
        ("What it gets wrong", _wrong(rows, p_cloud)),
        ("Where it comes from", _origin(fitted, pair)),
        ("What to do next", _next(fitted)),
    ]
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(fitted.artifact.path.name)}</title><style>{css}</style></head><body><main>"
        f"<header><h1>{escape(fitted.artifact.path.name)}</h1><p><b>{escape(fitted.sentence)}</b></p>"
        "<p>This file holds texts of your log. Keep it where the log may be kept.</p></header>"
        f"{body}</main></body></html>\n"
    )


def _comparison(fitted: Fitted) -> str:
    found = [
        (
            name,
            _interval(one.apgr),
            "" if name == FITTED else _interval(one.lead, "+"),
            "" if name == FITTED else one.words,
        )
        for name, one in fitted.learned.compared.items()
    ]
    note = (
        f"{len(fitted.learned.rows.queries):,} rows, each judged by models that have not learned from its "
        "fold. APGR is the area under the recovered share of the cloud's lead, over the share of calls: "
        "0.5 is a coin. The lead is paired: both rankings on the same resampled rows, with 95 % intervals."
    )
    return _table(("ranking", "APGR", "lead of the fitted router", ""), found) + _note(note)


def _curves(fitted: Fitted, rows: Rows, costs: Costs, currency: str) -> str:
    lines = {}
    for name, scores in fitted.learned.scores.items():
        curve = cost_quality_curve(scores, rows.weak, rows.strong, rows.weight)
        money = [costs.month(float(share), _PER) for share in curve.share]
        x = [m if m is not None else float(s) for m, s in zip(money, curve.share, strict=True)]
        lines[name] = (np.array(x), curve.quality)
    unit = "share of cloud calls" if costs.month(1.0, _PER) is None else f"{currency} per {_PER:,.0f} queries"
    return _chart(lines, unit, "mean score")


def _thresholds(rows: Rows, p_cloud: Floats, costs: Costs, currency: str) -> str:
    heads = ["threshold", "to the cloud", "quality", f"{currency} per {_PER:,.0f} queries", "saved"]
    found = []
    for row in threshold_table(rows, p_cloud, costs, _PER):
        cells = [f"{row.threshold:.3f}", f"{row.share:.0%}", _interval(row.quality)]
        if row.month is not None:
            cells += [f"{row.month:,.3f}", "" if row.saved is None else f"{row.saved:.0%}"]
        found.append(cells)
    if costs.month(1.0, _PER) is None:
        return _table(heads[:3], found) + _note(f"{NO_PRICES}.")
    return _table(heads, found)


def _reliability(rows: Rows, p_cloud: Floats) -> str:
    bins = [b for b in reliability(rows.gain > 0, p_cloud, rows.weight) if b.count]
    found = [
        (f"{b.low:.2f} to {b.high:.2f}", f"{b.count:,}", f"{b.predicted:.2f}", f"{b.observed:.2f}")
        for b in bins
    ]
    return _table(("p_cloud", "rows", "predicted", "cloud was better"), found)


def _wrong(rows: Rows, p_cloud: Floats) -> str:
    table = threshold_table(rows, p_cloud, Costs(None, None), _PER)
    needed = float(np.average(rows.gain > 0, weights=rows.weight))
    at = min(table, key=lambda row: abs(row.share - needed))
    parts = [_note(f"At a threshold of {at.threshold:.3f}, {at.share:.0%} of the queries to the cloud.")]
    for kind, queries in wrong_decisions(rows, p_cloud, at.threshold).items():
        shown = "".join(f"<li>{escape(query[:400])}</li>" for query in queries) or "<li>none</li>"
        parts.append(f"<h3>{kind}</h3><ul>{shown}</ul>")
    return "".join(parts)


def _origin(fitted: Fitted, pair: Mapping[str, object]) -> str:
    judging = fitted.facts.get("judging") or {}
    facts = [
        ("models", f"{pair.get('local')} (local), {pair.get('cloud')} (cloud)"),
        ("share of the words", f"{fitted.learned.fit.from_words:.0%}, the rest is the base's answer"),
        ("rows by verdict", ", ".join(f"{k} {v:,}" for k, v in (judging.get("verdicts") or {}).items())),
        (
            "agreement",
            "not measured: label some rows" if fitted.agreement is None else fitted.agreement.sentence,
        ),
    ]
    return _table(("", ""), facts)


def _next(fitted: Fitted) -> str:
    if not fitted.recommended:
        return (
            "<p>Keep today's router. Judge more rows (four times as many halve an interval), look at the "
            "wrong decisions above, and label the doubtful ones yourself: <code>pointsman label</code>.</p>"
        )
    return (
        "<p>Choose a threshold: <code>pointsman choose ROUTER WORK --per-month N</code>. Then publish it and "
        "promote it: <code>pointsman versions publish</code>.</p>"
    )


def _chart(lines: Mapping[str, tuple[Floats, Floats]], x_name: str, y_name: str) -> str:
    """Lines as SVG, with their ends labelled."""
    xs, ys = (np.concatenate([line[at] for line in lines.values()]) for at in (0, 1))
    low, high = float(ys.min()), float(ys.max())
    spread = (high - low) or 1.0

    def place(x: float, y: float) -> str:
        across = _MARGIN + (_WIDTH - 2 * _MARGIN) * (x - xs.min()) / ((xs.max() - xs.min()) or 1.0)
        return f"{across:.1f},{_HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * (y - low) / spread:.1f}"

    drawn = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="'
        f'{" ".join(place(float(a), float(b)) for a, b in zip(*line, strict=True))}"/>'
        for colour, line in zip(_COLOURS, lines.values(), strict=False)
    )
    key = " ".join(
        f'<span style="color:{colour}">&#9632;</span> {escape(name)}'
        for colour, name in zip(_COLOURS, lines, strict=False)
    )
    foot = f'y="{_HEIGHT - 14}"'
    ends = (
        f'<text x="{_MARGIN}" {foot}>{xs.min():.3g}</text>'
        f'<text x="{_WIDTH - _MARGIN}" {foot} text-anchor="end">{xs.max():.3g} {escape(x_name)}</text>'
        f'<text x="4" y="{_HEIGHT - _MARGIN}">{low:.3f}</text><text x="4" y="{_MARGIN}">{high:.3f}</text>'
    )
    label = f"{escape(y_name)} over {escape(x_name)}"
    view = f"0 0 {_WIDTH} {_HEIGHT}"
    return f'<svg viewBox="{view}" role="img" aria-label="{label}">{drawn}{ends}</svg><p>{key}</p>'


def _interval(found: Interval, sign: str = "") -> str:
    form = f"{sign}.3f"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        "<tr>"
        + "".join(
            # A narrow screen shows each row as lines, each with its own head.
            f'<td data-head="{escape(name)}">{escape(cell)}</td>'
            for name, cell in zip(heads, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'
