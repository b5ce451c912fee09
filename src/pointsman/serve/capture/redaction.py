"""What of a conversation may be written down: its text, without keys and without what the operator names."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pointsman.serve.failures import GatewayError
from pointsman.serve.routing.folding import JOINT
from pointsman.serve.routing.request_text import RequestText
from pointsman.serve.routing.rules import compile_rules, first_match
from pointsman.serve.setting_values import linear_pattern
from pointsman.serve.settings import Rule

REDACTED = "[redacted]"
_APART = "\n;\n"
_ROLES = frozenset({"system", "developer", "user", "assistant"})
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_CREDENTIALS = "|".join(
    (
        r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{20,}",
        r"\b(?:AKIA[0-9A-Z]{16}|AIza[A-Za-z0-9_-]{35}|hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{36,})",
        r"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
        r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
    )
)
"""How keys of well-known services begin, tokens of JWT, and private keys in PEM."""

Messages = list[dict[str, str]]
Parted = list[dict[str, str | list[str]]]
"""The same, with a list where a text came in parts."""


def text_messages(messages: Sequence[Mapping[str, Any]]) -> Parted | None:
    """Roles and texts of a conversation; None where text is not all of it, so that it cannot be asked again.

    Args:
        messages: of a chat, a response or Anthropic's protocol; one without content is passed over.
    """
    plain: Parted = []
    for message in messages:
        content, role = message.get("content"), message.get("role")
        if isinstance(content, list):
            if not all(map(_is_text, content)):
                return None
            content = [part["text"] for part in content]
        if message.get("tool_calls") or role not in _ROLES or not isinstance(content, str | list | None):
            return None
        if content:
            plain.append({"role": str(role), "content": content})
    return plain if any(message["role"] == "user" for message in plain) else None


class Redaction:
    """Takes out of a conversation what its patterns find, and keys.

    Args:
        patterns: regular expressions of RE2.
        secrets: further words that must not be written.
    """

    def __init__(self, patterns: Iterable[str], secrets: Collection[str] = ()) -> None:
        patterns = (*patterns, _CREDENTIALS)
        self._patterns = [linear_pattern(pattern) for pattern in patterns]
        # The rules find it in other spellings and encodings, too, where nothing can be cut out.
        self._rules = compile_rules(
            [
                Rule(name=f"redact-{number}", send="local-only", pattern=pattern)
                for number, pattern in enumerate(patterns)
            ]
        )
        self._secrets = frozenset(secrets)

    def apply(
        self, messages: Sequence[Mapping[str, str | list[str]]], secrets: Collection[str] = ()
    ) -> Messages | None:
        """The conversation as it may be written; None where something is left that can only be found.

        Args:
            messages: roles and texts, from `text_messages`; not changed.
            secrets: keys that the request itself showed.
        """
        words = self._secrets.union(secrets)
        kept: Messages = []
        # A word may go on from one part to the next, which the line's end that is written would hide.
        parted: list[list[str]] = []
        for message in messages:
            content = message["content"]
            parts = [content] if isinstance(content, str) else content
            kept.append({"role": str(message["role"]), "content": self._redacted("\n".join(parts), words)})
            if len(parts) > 1:
                parted.append([self._redacted(part, words) for part in parts])
        whole = [[message["content"]] for message in kept]
        return None if self._finds(whole, words) or self._finds(parted, words) else kept

    def within(self, value: Any, secrets: Collection[str] = ()) -> Any | None:
        """A JSON value with its texts redacted; None where something is left that can only be found."""
        words = self._secrets.union(secrets)
        texts: list[list[str]] = []

        def kept(one: Any) -> Any:
            if isinstance(one, dict):
                texts.extend([name] for name in one)
                return {name: kept(item) for name, item in one.items()}
            if isinstance(one, list):
                return [kept(item) for item in one]
            if not isinstance(one, str):
                return one
            texts.append([self._redacted(one, words)])
            return texts[-1][0]

        found = kept(value)
        return None if self._finds(texts, words) else found

    def finds(self, messages: Sequence[Mapping[str, Any]]) -> bool:
        """Whether something that is to be redacted stands anywhere in messages of any kind."""
        return first_match(self._rules, RequestText({"messages": messages}, frozenset())) is not None

    def _finds(self, messages: list[list[str]], words: Collection[str]) -> bool:
        """Whether something is left in texts that each came in parts."""
        if not messages:
            return False
        rest = [
            {"content": [{"text": part.replace(REDACTED, _APART)} for part in parts]} for parts in messages
        ]
        request = RequestText({"messages": rest}, frozenset())
        try:
            plain = [text.replace(JOINT, "") for text in request.plain]
        except GatewayError:
            # It stands for more text than can be read.
            return True
        if first_match(self._rules, request):
            return True
        return any(word in text for word in words for text in plain)

    def _redacted(self, text: str, words: Collection[str]) -> str:
        for word in words:
            text = text.replace(word, REDACTED)
        for pattern in self._patterns:
            text = pattern.sub(REDACTED, text)
        return text


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in _TEXT_PARTS and isinstance(part.get("text"), str)
