"""Rules before the model: which of them match a request, and which one decides.

A rule that sends `local-only` is a promise about privacy, so it is asked for every chat, whatever the client
wishes; the other rooms' files say what is read (`request_text`) and when a word is in it (`keywords`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pointsman.serve.routing.folding import encoded, folded, spans, unmarked
from pointsman.serve.routing.keywords import Keyword, compile_keyword, spellings
from pointsman.serve.routing.request_text import RequestText
from pointsman.serve.setting_values import linear_pattern
from pointsman.serve.settings import Rule

_SINGLE = re.compile(r"(?<!-)[^\x00-\x7f](?!-)")
"""A character of a pattern that is not the end of a range."""

_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule, ready to be asked.

    Attributes:
        patterns: the rule's pattern for texts as they came, and for folded ones; empty where it has none.
    """

    rule: Rule
    keywords: tuple[Keyword, ...]
    patterns: tuple[Any, ...]

    def matches(self, request: RequestText) -> bool:
        """Whether every condition that the rule gives holds; the ones that cost least are asked first."""
        rule = self.rule
        return (
            (rule.tag is None or rule.tag in request.tags)
            and (rule.has_tools is None or request.has_tools == rule.has_tools)
            and (rule.has_images is None or request.has_images == rule.has_images)
            and (rule.min_chars is None or request.chars >= rule.min_chars)
            and (rule.max_chars is None or request.chars <= rule.max_chars)
            and (not self.keywords or self._cannot_tell(request) or self._has_keyword(request))
            and (not self.patterns or self._cannot_tell(request) or self._has_pattern(request))
        )

    def _cannot_tell(self, request: RequestText) -> bool:
        """A text that cannot be read stays local where a rule would have to read it."""
        return self.rule.send == "local-only" and not request.is_readable

    def _has_keyword(self, request: RequestText) -> bool:
        return any(keyword.is_in(text) for text in request.words for keyword in self.keywords)

    def _has_pattern(self, request: RequestText) -> bool:
        as_it_came, for_folded = self.patterns
        if any(as_it_came.search(encoded(text)) for text in request.plain):
            return True
        return any(
            for_folded.search(encoded(text))
            for one in map(unmarked, request.folded)
            for text in (one, _one_line(one))
        )


def compile_rules(rules: Sequence[Rule]) -> tuple[CompiledRule, ...]:
    """The rules in their order.

    Raises:
        SettingsError: a keyword in which there is nothing to look for.
    """
    return tuple(
        CompiledRule(
            rule,
            tuple(compile_keyword(form) for keyword in rule.keywords for form in spellings(keyword)),
            _patterns(rule.pattern),
        )
        for rule in rules
    )


def first_match(rules: Sequence[CompiledRule], request: RequestText) -> Rule | None:
    """The rule that decides; a matching `local-only` one before all others."""
    for is_private in (True, False):
        for compiled in rules:
            if (compiled.rule.send == "local-only") == is_private and compiled.matches(request):
                return compiled.rule
    return None


def _patterns(pattern: str | None) -> tuple[Any, ...]:
    if pattern is None:
        return ()
    plain = _SINGLE.sub(lambda match: re.escape(unmarked(folded(match[0]))), pattern)
    return linear_pattern(pattern), linear_pattern(plain)


def _one_line(text: str) -> str:
    """With each run of white space as one space."""
    pieces: list[str] = []
    is_open = True
    for start, end in spans(text):
        line = _SPACES.sub(" ", text[start:end])
        pieces.append(line[1:] if is_open and line[:1] == " " else line)
        is_open = line[-1:] == " "
    joined = "".join(pieces)
    return joined[:-1] if is_open else joined
