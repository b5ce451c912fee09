"""The default router's figures beside those that were wanted, written from the records of its run.

`python -m tools.router_goals REPORT_DIRECTORY CHECKPOINT` fills the two marked places of the directory's
report.md from its evaluation.json and the checkpoint's training.json and calibration.json, and draws
training.png. Nothing is typed by hand.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointsman.evaluation.quality import POOLED
from pointsman.train.curves import draw_curves
from tools.pages import filled

Values = Mapping[str, Any]
Figure = Mapping[str, float]

WORD_RIDGE = "word ridge on the gain"
"""The baseline that one row is about."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure that the router should reach.

    Attributes:
        what: what it is, as the table says it.
        floor: the least (or with `most` the largest) value that counts as reached.
        aim: the better value that was hoped for; None where there is only one.
        find: finds the figure in a report: value, low, high.
        percent: shown in percent.
        most: smaller is better.
    """

    what: str
    floor: float
    aim: float | None
    find: Callable[[Values], Figure]
    percent: bool = False
    most: bool = False

    def row(self, report: Values) -> str:
        """One line of the table."""
        figure = self.find(report)
        value, low, high = (figure.get(key, figure["value"]) for key in ("value", "low", "high"))
        sign = "at most " if self.most else ""
        wanted = f"{sign}{self._shown(self.floor)}" + (f", aim {self._shown(self.aim)}" if self.aim else "")
        interval = f" [{self._shown(low)}, {self._shown(high)}]" if low != high else ""
        return f"| {self.what} | {wanted} | {self._shown(value)}{interval} | {self._verdict(value)} |"

    def _verdict(self, value: float) -> str:
        def reached(wanted: float) -> bool:
            return value <= wanted if self.most else value >= wanted

        if not reached(self.floor):
            return "**missed**"
        return "reached" if self.aim is None or reached(self.aim) else "floor reached, aim missed"

    def _shown(self, value: float) -> str:
        return f"{100 * value:.1f} %" if self.percent else f"{value:.3f}"


def _apgr(name: str, scorer: str | None = None) -> Callable[[Values], Figure]:
    return lambda r: r["sets"][name]["ranking"][scorer or r["router"]]["figures"]["apgr"]


def _slices(report: Values, *names: str) -> Figure:
    """The share of several slices' texts that went where they belong, each text once."""
    parts = [s for s in report["everyday"] if s["name"] in names]
    if not parts:
        raise KeyError(names[0])
    if len(parts) == 1:
        return parts[0]["figures"]["target_right"]  # type: ignore[no-any-return]
    rows = sum(s["rows"] for s in parts)
    return {"value": sum(s["rows"] * s["figures"]["target_right"]["value"] for s in parts) / rows}


def _local(*names: str) -> Callable[[Values], Figure]:
    return lambda r: _slices(r, *names)


def _chats(report: Values) -> Figure:
    """The share of the chats that went where they belong."""
    return _slices(
        report, *(part["name"] for part in report["everyday"] if part["name"].startswith("chats "))
    )


def _difference(name: str) -> Callable[[Values], Figure]:
    return lambda r: r["differences"][name]


def _size(name: str) -> Callable[[Values], Figure]:
    return lambda r: {"value": abs(r["differences"][name]["value"])}


def _kind(name: str) -> Callable[[Values], Figure]:
    return lambda r: r["kinds"][name]["calibration_error"]


WANTED = (
    Goal("APGR, pooled", 0.655, 0.670, _apgr(POOLED)),
    Goal("APGR on routellm_mmlu", 0.670, 0.685, _apgr("routellm_mmlu")),
    Goal("APGR on llmrouter", 0.715, 0.730, _apgr("llmrouter")),
    Goal("APGR on mmlu_pro_llama31_8b", 0.585, 0.600, _apgr("mmlu_pro_llama31_8b")),
    Goal("APGR on mmlu_pro_phi3_mini", 0.580, 0.590, _apgr("mmlu_pro_phi3_mini")),
    Goal("APGR on routellm_gsm8k", 0.570, 0.610, _apgr("routellm_gsm8k")),
    Goal("APGR on zeroeval_gsm8k", 0.555, 0.565, _apgr("zeroeval_gsm8k")),
    Goal("APGR on zeroeval_numersense", 0.640, 0.680, _apgr("zeroeval_numersense")),
    Goal("pooled APGR less that of the word ridge on the gain", 0.010, 0.020, _difference(WORD_RIDGE)),
    Goal("small talk: chatterbot", 0.901, 0.950, _local("chatterbot"), percent=True),
    Goal("commands and chit-chat: slurp", 0.975, 0.985, _local("slurp"), percent=True),
    Goal("requests to a bank and a hotel: nlu++", 0.964, 0.980, _local("nlu++"), percent=True),
    Goal("arena-hard-v2.0 goes cloud", 0.950, None, _local("arena-hard-v2.0"), percent=True),
    Goal(
        "greetings, thanks, commands, small talk: own queries",
        1.0,
        None,
        _local(*(f"everyday-test {kind}" for kind in ("greeting", "thanks", "command", "small talk"))),
        percent=True,
    ),
    Goal("chats of two and three turns", 0.95, None, _chats, percent=True),
    Goal(
        "least confidence of the guide's examples (0: one is wrong)",
        0.97,
        None,
        lambda r: {"value": min(e["confidence"] * (e["label"] == e["belongs"]) for e in r["guide"])},
    ),
    Goal("ECE, exam questions", 0.03, 0.02, _kind("measured"), most=True),
    Goal("ECE, everyday texts", 0.03, 0.02, _kind("everyday"), most=True),
    Goal("ECE, both", 0.03, 0.02, _kind("both"), most=True),
    Goal(
        "share got less share asked, the largest",
        0.02,
        None,
        lambda r: {"value": max(abs(s["got"] - s["asked"]) for s in r["shares"])},
        percent=True,
        most=True,
    ),
    Goal(
        "decisions that flip under edits",
        0.05,
        None,
        lambda r: r["flips"]["figures"]["all edits"],
        percent=True,
        most=True,
    ),
    Goal("int8 against float32, pooled APGR, difference", 0.003, None, _size("folded"), most=True),
)


def render_wanted(report: Values) -> str:
    """Every wanted figure beside the one found, as a Markdown table."""
    head = ["| what | wanted | found [95 % interval] | |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *(wanted.row(report) for wanted in WANTED)])


def render_run(training: Values, calibration: Values) -> str:
    """The facts of the training run, as a Markdown table."""
    best = min(training["history"], key=lambda facts: facts["score"])
    facts = {
        "steps": f"{training['steps']:,}, the best at {best['step']:,.0f}",
        "time in steps": f"{training['minutes']} minutes, {training['threads']} thread(s)",
        "texts": f"{training['examples']['train']:,} to train on (repeats counted), "
        f"{training['examples']['validation']:,} held out",
        "rows that could not be used": f"{training['bad_rows']:,}",
        "near duplicates of held-out texts, left out": f"{training['near_duplicates_left_out']:,}",
        "held-out cross-entropy, measured and ruled": f"{best['validation_measured_entropy']:.4f} and "
        f"{best['validation_ruled_entropy']:.4f} nats",
        "torch": training["torch"],
        "calibration": f"{calibration['method']}, a = {calibration['a']:.3f}, b = {calibration['b']:.3f}, "
        f"on {calibration['n']:,} held-out rows, measured and ruled",
    }
    return "\n".join(["| | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in facts.items())])


def main(directory: Path, checkpoint: Path) -> None:
    """Fill the directory's report.md, and draw training.png."""

    def read(path: Path) -> dict[str, Any]:
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    training = read(checkpoint / "training.json")
    places = {
        "run": render_run(training, read(checkpoint / "calibration.json")),
        "wanted": render_wanted(read(directory / "evaluation.json")),
    }
    page = directory / "report.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), places), encoding="utf-8")
    draw_curves(training["history"], directory / "training.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
