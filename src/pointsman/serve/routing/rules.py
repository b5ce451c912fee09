"""Rules before the model: what is seen in a request, and which rule matches it first.

A rule that sends `local-only` is a promise about privacy, so it is asked for every chat, whatever the client
wishes; the text is normalised first, so that full-width letters and invisible characters hide nothing.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pointsman.serve.settings import Rule, linear_pattern

_INVISIBLE = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_FIELDS = ("messages", "input", "prompt", "instructions", "system")
_NOT_TEXT = frozenset({"url", "image_url", "data", "file_data", "role", "type", "id", "call_id"})
_MEDIA = frozenset({"image_url", "input_image", "image", "input_file", "file", "input_audio", "audio"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What the rules look at.

    Attributes:
        text: every text of the request, normalised, one a line.
        chars: its characters.
        tags: of the header x-pointsman-tags.
    """

    text: str
    chars: int
    has_tools: bool
    has_images: bool
    tags: frozenset[str]


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule, ready to be asked."""

    rule: Rule
    keywords: re.Pattern[str] | None
    pattern: Any

    def matches(self, seen: Seen) -> bool:
        """Whether every condition that the rule gives holds."""
        rule = self.rule
        return (
            (rule.min_chars is None or seen.chars >= rule.min_chars)
            and (rule.max_chars is None or seen.chars <= rule.max_chars)
            and (rule.has_tools is None or seen.has_tools == rule.has_tools)
            and (rule.has_images is None or seen.has_images == rule.has_images)
            and (rule.tag is None or rule.tag in seen.tags)
            and (self.keywords is None or self.keywords.search(seen.text) is not None)
            and (self.pattern is None or self.pattern.search(seen.text) is not None)
        )


def compile_rules(rules: Sequence[Rule]) -> tuple[CompiledRule, ...]:
    """The rules in their order."""
    return tuple(
        CompiledRule(
            rule,
            _any_of(rule.keywords) if rule.keywords else None,
            linear_pattern(rule.pattern) if rule.pattern is not None else None,
        )
        for rule in rules
    )


def first_match(rules: Sequence[CompiledRule], seen: Seen) -> Rule | None:
    """The rule that decides; a matching `local-only` one before all others."""
    matching = [compiled.rule for compiled in rules if compiled.matches(seen)]
    for rule in matching:
        if rule.send == "local-only":
            return rule
    return matching[0] if matching else None


def look_at(payload: dict[str, Any], tags: str | None) -> Seen:
    """What is in a request, for the rules."""
    strings: list[str] = []
    has_images = False
    for name in _FIELDS:
        for key, value in _walk(payload.get(name), name):
            if key == "type" and value in _MEDIA:
                has_images = True
            elif key not in _NOT_TEXT:
                strings.append(value)
    text = normalised("\n".join(strings))
    return Seen(
        text=text,
        chars=len(text),
        has_tools=bool(payload.get("tools") or payload.get("functions")),
        has_images=has_images,
        tags=frozenset(tag.strip() for tag in (tags or "").split(",") if tag.strip()),
    )


def normalised(text: str) -> str:
    """Compatibility forms folded, invisible characters gone."""
    return text if text.isascii() else _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


def _any_of(keywords: Sequence[str]) -> re.Pattern[str]:
    words = "|".join(re.escape(normalised(word)) for word in sorted(keywords, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)


def _walk(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every string, with the key that it stands under; bodies are at most 32 deep."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, key)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _walk(item, name)
