"""Pairs of answers to scores: by a check, or by a judge that sees each pair in both orders.

A verdict counts where it is the same in both orders; a verdict that turns with the order is a tie, and a tie
means that the local answer is good enough.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pointsman.artifact.manifest import Chat
from pointsman.errors import DataError
from pointsman.runtime.chat import text_of_messages
from pointsman.traffic.call_errors import shortened
from pointsman.traffic.checks import check
from pointsman.traffic.completion import with_calls
from pointsman.traffic.endpoint import Call, Endpoint
from pointsman.traffic.judged import SCORES
from pointsman.traffic.log import row_options
from pointsman.traffic.pairs import JudgeReport, Pair, expected_of
from pointsman.traffic.prompts import ALLOWED, PAIRWISE, REFERENCE, Prompt, asked_again
from pointsman.traffic.work import CLOUD_ROLE, LOCAL_ROLE, Answer, Query, Work

_LOCAL_FIRST, _CLOUD_FIRST = "local first", "cloud first"
_PARAMETERS = {"temperature": 0}

Scores = tuple[float, float]


def judge_by_check(work: Work, pairs: Sequence[Pair], kind: str, column: str, report: JudgeReport) -> None:
    """Score every pair whose row says what it expects.

    Raises:
        DataError: no row says what it expects in the form that the check needs.
    """
    wrong = ""
    with work.transaction():
        for pair in pairs:
            wanted = expected_of(pair.query, column)
            if wanted is None:
                report.missing(f"no value in {column!r}")
                continue
            try:
                weak = fmean(check(kind, answer.text, wanted) for answer in pair.local)
                strong = float(check(kind, pair.cloud.text, wanted))
            except DataError as error:
                wrong = f"{pair.query.text[:60]!r}: {error}"
                report.missing(f"{column!r} is not what --check {kind} needs")
                continue
            _keep(work, pair, (weak, strong), {"by": f"check {kind}"}, report)
    if not report.judged and wrong:
        raise DataError(f"no row could be checked; for example {wrong}.")


@dataclass(frozen=True, slots=True)
class Judging:
    """How pairs are judged by a model.

    Attributes:
        prompt: what the judge is told.
        judge: who it is.
        expected: column of the reference; None for pairs.
    """

    prompt: Prompt
    judge: Endpoint
    expected: str | None = None

    def calls(self, pairs: Sequence[Pair]) -> list[Call]:
        """The calls that the pairs need: two each. Equal answers, and an empty one, need none."""
        calls = []
        for pair in pairs:
            request = _request(pair.query)
            for sample, answer in enumerate(pair.local):
                for view, texts in self._views(pair, answer).items():
                    messages = self.prompt.messages(request=request, **texts)
                    role = self._role(view)
                    calls.append(Call(pair.query.id, role, sample, self.judge, messages, _PARAMETERS))
        return calls

    def second_tries(self, calls: Sequence[Call], work: Work) -> list[Call]:
        """Calls that ask for the verdict once more where the first reply has none."""
        again = []
        for call in calls:
            reply = work.paid(call.key)
            if reply is not None and self.prompt.verdict(reply.text) is None:
                messages = asked_again(call.messages, reply.text)
                again.append(Call(call.query, call.role, call.sample, self.judge, messages, call.parameters))
        return again

    def replies(self, calls: Sequence[Call], work: Work) -> list[tuple[Call, Answer, str | None]]:
        """The kept replies to calls and to their second tries, each with its verdict."""
        found = []
        for call in [*calls, *self.second_tries(calls, work)]:
            if (reply := work.paid(call.key)) is not None:
                found.append((call, reply, self.prompt.verdict(reply.text)))
        return found

    def advice(self, reply: Answer) -> str:
        """What to do about a reply without a verdict, which is shown."""
        wanted = " or ".join(f"`VERDICT: {verdict}`" for verdict in ALLOWED[self.prompt.mode])
        return (
            f"Expected {wanted} as the last line; found, for example, "
            f"{shortened(reply.text, self.judge.key)} (finish_reason {reply.finish!r}). Read what the judge "
            "is told (--show-prompt), change --rubric, or take another model."
        )

    def keep_scores(self, work: Work, pairs: Sequence[Pair], report: JudgeReport) -> None:
        """Turn the kept verdicts into scores; pairs whose verdicts are not all there are counted."""
        replies = {
            (call.query, call.sample, call.role): verdict
            for call, _, verdict in self.replies(self.calls(pairs), work)
        }
        report.unread += sum(verdict is None for verdict in replies.values())
        with work.transaction():
            for pair in pairs:
                self._keep_pair(work, pair, replies, report)

    def _keep_pair(
        self,
        work: Work,
        pair: Pair,
        replies: Mapping[tuple[str, int, str], str | None],
        report: JudgeReport,
    ) -> None:
        scores: list[Scores] = []
        flipped = False
        for sample, answer in enumerate(pair.local):
            verdicts = {
                view: replies.get((pair.query.id, sample, self._role(view)))
                for view in self._views(pair, answer)
            }
            if self.expected and not verdicts:
                report.missing(f"no value in {self.expected!r}")
                return
            if None in verdicts.values():
                report.missing("the judge has not answered, or not with a verdict")
                return
            scores.append(self._scores(pair, answer, verdicts, report))
            flipped = flipped or (self.expected is None and _is_flip(verdicts))
        mean = fmean(weak for weak, _ in scores), fmean(strong for _, strong in scores)
        if len(scores) == 1 and mean[0] != mean[1]:
            report.longer_won.append((len(pair.cloud.text) > len(pair.local[0].text)) == (mean[1] > mean[0]))
        detail = {"by": self.judge.model, "mode": self.prompt.mode, "prompt": self.prompt.digest}
        _keep(work, pair, mean, {**detail, "flipped": flipped}, report)

    def _scores(
        self, pair: Pair, answer: Answer, verdicts: Mapping[str, str | None], report: JudgeReport
    ) -> Scores:
        if self.expected is not None:
            return float(verdicts[LOCAL_ROLE] == "CORRECT"), float(verdicts[CLOUD_ROLE] == "CORRECT")
        if not verdicts:
            return SCORES[_without_judge(answer, pair.cloud) or "tie"]
        report.first_won += [verdict == "A" for verdict in verdicts.values() if verdict != "TIE"]
        report.flipped.append(_is_flip(verdicts))
        first, second = (_winner(view, verdict) for view, verdict in verdicts.items())
        return SCORES[first if first == second else "tie"]

    def _views(self, pair: Pair, answer: Answer) -> dict[str, dict[str, str]]:
        """What the judge is shown, by name: a pair in both orders, or each answer beside the reference."""
        if self.expected is not None:
            reference = expected_of(pair.query, self.expected)
            texts = {LOCAL_ROLE: answer.text, CLOUD_ROLE: pair.cloud.text}
            return {role: {"reference": reference, "a": text} for role, text in texts.items() if reference}
        if _without_judge(answer, pair.cloud) is not None:
            return {}
        return {
            _LOCAL_FIRST: {"a": answer.text, "b": pair.cloud.text},
            _CLOUD_FIRST: {"a": pair.cloud.text, "b": answer.text},
        }

    def _role(self, view: str) -> str:
        return f"{REFERENCE if self.expected else PAIRWISE}: {view}"


def _winner(view: str, verdict: str | None) -> str:
    if verdict == "TIE":
        return "tie"
    return "local" if (verdict == "A") == (view == _LOCAL_FIRST) else "cloud"


def _is_flip(verdicts: Mapping[str, str | None]) -> bool:
    return {_winner(view, verdict) for view, verdict in verdicts.items()} == {"local", "cloud"}


def _without_judge(local: Answer, cloud: Answer) -> str | None:
    """The verdict that is sure without a judge: equal answers tie, an empty one loses."""
    texts = " ".join(local.text.split()), " ".join(cloud.text.split())
    if texts[0] == texts[1]:
        return "tie"
    if not texts[0] or not texts[1]:
        return "local" if texts[0] else "cloud"
    return None


def _request(query: Query) -> str:
    """What a judge reads of a chat: the text of a lone message, or every message with its role."""
    said = [(m.get("role"), _said(m)) for m in query.messages]
    text = said[0][1] if len(said) == 1 else "\n\n".join(f"{role}: {text}" for role, text in said)
    options = row_options(query.columns)
    return f"{text}\n\nAsked with: {json.dumps(options, ensure_ascii=False)}" if options else text


def _said(message: Mapping[str, Any]) -> str:
    return with_calls(text_of_messages([{**message, "role": "user"}], Chat()), message)


def _keep(work: Work, pair: Pair, scores: Scores, detail: Mapping[str, Any], report: JudgeReport) -> None:
    weak, strong = scores
    work.judge(pair.query.id, weak, strong, detail)
    report.judged += 1
    verdict = "tie" if weak == strong else "local" if weak > strong else "cloud"
    report.verdicts[verdict] = report.verdicts.get(verdict, 0) + 1
