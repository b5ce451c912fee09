"""Which text may leave this machine: the gateway's rules and redactions, for `collect` and for the judge.

`collect` keeps them in the work folder, so that the judge, which sees the same texts and the answers to them,
is told no more than the models.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pointsman.serve.capture.redaction import Redaction, text_messages
from pointsman.serve.routing.request_text import RequestText
from pointsman.serve.routing.rules import compile_rules, first_match
from pointsman.serve.settings import Rule
from pointsman.traffic.log import row_options
from pointsman.traffic.pairs import Pair, expected_of

if TYPE_CHECKING:
    from pointsman.serve.settings import GatewaySettings
    from pointsman.traffic.pairs import JudgeReport
    from pointsman.traffic.work import Answer, Query, Work

Messages = Sequence[Mapping[str, Any]]

_FACT = "privacy"
_TEXT_ONLY = {"min_chars": None, "max_chars": None, "has_tools": None, "has_images": None, "tag": None}


class Privacy:
    """What of a text may be sent.

    Args:
        rules: of the gateway, in its order.
        redact: regular expressions of RE2; what they find is sent as `[redacted]`, and so are API keys.
        secrets: further words that are never sent: keys of the endpoints.
    """

    def __init__(self, rules: Sequence[Rule], redact: Sequence[str], secrets: Collection[str] = ()) -> None:
        self._rules = compile_rules(rules)
        private = [rule for rule in rules if rule.send == "local-only" and (rule.keywords or rule.pattern)]
        # An answer is no request: of a rule only its words say something about it.
        self._words = compile_rules([rule.model_copy(update=_TEXT_ONLY) for rule in private])
        self._redaction = Redaction(redact, {secret for secret in secrets if secret})

    @classmethod
    def of_gateway(cls, settings: "GatewaySettings", work: "Work", secrets: Collection[str]) -> "Privacy":
        """That of a configuration, which the folder keeps for `of_work`."""
        rules, redact = settings.routing.rules, settings.capture.redact
        kept = [rule.model_dump(mode="json", exclude_defaults=True) for rule in rules]
        work.set_fact(_FACT, {"rules": kept, "redact": list(redact)})
        return cls(rules, redact, secrets)

    @classmethod
    def of_work(cls, work: "Work", secrets: Collection[str]) -> "Privacy":
        """That of the configuration which the last `collect` into the folder read."""
        known = work.fact(_FACT) or {"rules": [], "redact": []}
        return cls([Rule(**rule) for rule in known["rules"]], known["redact"], secrets)

    def sendable(self, messages: Messages, row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """The messages of a row as they may be sent to both models; None where a rule binds them to one.

        None, too, where something that is to be redacted can be found, but not cut out.

        Args:
            row: its columns; what it offers and its `tags` are read as the gateway reads them.
        """
        options = row_options(row)
        given = {**{name: row[name] for name in ("tools", "functions") if row.get(name)}, **options}
        rule = first_match(self._rules, RequestText({"messages": messages, **given}, _tags(row.get("tags"))))
        if rule is not None and rule.send.endswith("-only"):
            return None
        plain = text_messages(messages)
        kept = messages if plain is None else self._redaction.apply(plain)
        if kept is None:
            return None
        if plain is not None and [one["content"] for one in kept] == ["\n".join(_parts(m)) for m in plain]:
            kept = messages
        # A tool, its turn, a name or a picture's address can only be looked through.
        is_plain = all(m.keys() == {"role", "content"} and isinstance(m["content"], str) for m in messages)
        if kept is messages and not is_plain and self._redaction.finds(messages):
            return None
        if options and self._redaction.within(options) != options:
            return None
        return [dict(message) for message in kept]

    def queries(self, queries: "Sequence[Query]") -> "list[Query]":
        """The queries as both models may see them, without those that none may."""
        found = ((query, self.sendable(query.messages, query.columns)) for query in queries)
        return [replace(query, messages=messages) for query, messages in found if messages is not None]

    def pairs(self, pairs: Sequence[Pair], expected: str | None, report: "JudgeReport") -> list[Pair]:
        """The pairs as a judge may see them; the others are counted in the report."""
        found = [self._pair(pair, expected) for pair in pairs]
        for _ in range(found.count(None)):
            report.missing("a rule or a redaction keeps its text from the judge")
        return [pair for pair in found if pair is not None]

    def _pair(self, pair: Pair, expected: str | None) -> Pair | None:
        messages = self.sendable(pair.query.messages, pair.query.columns)
        local, cloud = [self._answer(answer) for answer in pair.local], self._answer(pair.cloud)
        if messages is None or cloud is None or None in local:
            return None
        columns = pair.query.columns
        if expected is not None and (reference := expected_of(pair.query, expected)) is not None:
            text = self._text(reference)
            if text is None:
                return None
            columns = {**columns, expected: text}
        query = replace(pair.query, messages=messages, columns=columns)
        return Pair(query, [answer for answer in local if answer is not None], cloud)

    def _answer(self, answer: "Answer") -> "Answer | None":
        text = self._text(answer.text)
        return None if text is None else replace(answer, text=text)

    def _text(self, text: str) -> str | None:
        if not text.strip():
            return text
        said = [{"role": "user", "content": text}]
        if first_match(self._words, RequestText({"messages": said}, frozenset())) is not None:
            return None
        kept = self._redaction.apply(said)
        return None if kept is None else kept[0]["content"]


def _parts(message: Mapping[str, str | list[str]]) -> list[str]:
    content = message["content"]
    return [content] if isinstance(content, str) else content


def _tags(value: Any) -> frozenset[str]:
    """Of a column: a list, or words between commas or spaces."""
    names = value if isinstance(value, list) else re.split(r"[,\s]+", value) if isinstance(value, str) else ()
    return frozenset(str(name) for name in names)
