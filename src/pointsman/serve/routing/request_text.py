"""What a request holds: every text of it, wherever it stands, and whether a picture, a sound or a file.

All is read, known field or not, keys and numbers too: a field that is new tomorrow is read today.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Generic, TypeVar

from pointsman.serve.routing.decoding import APART, decoded, without_blobs
from pointsman.serve.routing.folding import JOINT, PIECE, folded
from pointsman.serve.routing.keywords import Text, readings

_CONVERSATION = ("system", "instructions", "messages", "input", "prompt", "suffix")
_SAID = frozenset(
    {*_CONVERSATION, "content", "text", "output", "arguments", "summary", "refusal", "thinking", "parts"}
    | {"reasoning", "reasoning_content"}
)
"""Keys of what is said: these texts follow each other, and a phrase may go from one to the next."""
_PROTOCOL = """
    role user assistant system developer tool function type text input_text output_text message
    messages content name id object stream stream_options include_usage tools tool_calls tool_call_id
    call_id function_call function_call_output arguments parameters properties required description
    strict items enum string number integer boolean array null title default input output instructions
    prompt suffix metadata response_format json_schema json_object schema format stop seed temperature
    top_p top_k max_tokens max_completion_tokens max_output_tokens logit_bias logprobs tool_choice
    auto none store status completed reasoning effort low medium high summary truncation prediction
    variables index data url image_url detail file_id filename
    cache_control ephemeral ttl input_schema tool_use tool_result tool_use_id is_error enabled budget_tokens
    user_id stop_sequences media_type context_management output_config
"""
_VOCABULARY = frozenset(_PROTOCOL.split())
"""The protocol's own words: as a key or a kind they say nothing of the request."""
_ACCEPTED = frozenset({"*/*", "application/json", "text/event-stream", "2023-06-01"})
"""What clients accept, and Anthropic's version; it says nothing of the request, either."""
_WITHOUT_MEDIA = frozenset(
    {"audio", "text", "modalities", "tools", "tool_choice", "functions", "function_call", "include"}
    | {"response_format", "metadata"}
)
"""Fields of a request that speak of media without holding any."""
_MEDIA = "image|audio|video|picture|photo|screenshot"
_FILES = "file|document|attachment|media|pdf"
_MEDIA_TYPE = re.compile(rf"(?:^|_)(?:{_MEDIA}|{_FILES})s?(?:_|$)(?!.*(?:search|citation|path))")
_MEDIA_KEY = re.compile(
    rf"(?:input|inline)?(?:{_MEDIA})s?(?:urls?|uri|data|file|ids?|b64|base64)?"
    rf"|(?:input)?(?:{_FILES})s?(?:urls?|uri|data|ids?)|inlinedata|multimodaldata"
)
_FILE_KEY = re.compile(rf"(?:{_FILES})s?")
_NAMES_ONLY = frozenset({"parameters", "input_schema", "properties", "annotations"})
_CALLS, _GIVEN = frozenset({"tool_use", "function_call"}), frozenset({"input", "arguments"})
"""What a model calls a tool with: a file's name there is no file."""
_OTHER = re.compile("[^a-z0-9]")
_DATA_URL = re.compile(
    r"data:(?:(?:image|audio|video)/[^,:\s]{1,99}+|application/[^,:\s]{1,99};base64),[^\s,]{16}"
)
_LONGEST_HEAD = 256
_MAGIC = re.compile(r"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|JVBERi0|SUQz|T2dnUw|UEsDB)[A-Za-z0-9+/]{48}")
"""How base64 of PNG, JPEG, GIF, WebP or WAV, PDF, MP3, Ogg and ZIP begins."""


T = TypeVar("T")


class _made_once(Generic[T]):  # noqa: N801 - a decorator
    """A property that keeps its value. Python 3.11's own lets no two objects make theirs at the same time."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make

    def __get__(self, holder: Any, kind: type) -> T:
        value = self._make(holder)
        # From now on this is found before the property.
        holder.__dict__[self._make.__name__] = value
        return value


class RequestText:
    """What the rules look at; each part is made when a rule first asks for it.

    Args:
        payload: the request; only read.
        tags: of the headers x-pointsman-tags.
        headers: values of those that go on to an upstream.
    """

    def __init__(self, payload: Mapping[str, Any], tags: frozenset[str], headers: Iterable[str] = ()) -> None:
        self._payload = payload
        self.tags = tags
        self._headers = frozenset(headers) - _ACCEPTED

    @property
    def has_tools(self) -> bool:
        """Whether tools or functions are given."""
        return bool(self._payload.get("tools") or self._payload.get("functions"))

    @property
    def has_images(self) -> bool:
        """Whether there is a picture, a sound or a file, or the name of one, in any dialect."""
        return self._content.has_media

    @_made_once
    def is_readable(self) -> bool:
        """False where a text is given as numbers of tokens, which are words only to the upstream's model."""
        given = (self._payload.get(name) for name in ("prompt", "input"))
        items = itertools.chain.from_iterable(value for value in given if isinstance(value, list))
        return not any(isinstance(item, int | list) for item in items)

    @property
    def chars(self) -> int:
        """Characters of what is said."""
        return self._content.chars

    @_made_once
    def plain(self) -> list[str]:
        """All texts as they came, and what they stand for where that differs."""
        text = without_blobs(APART.join(self._content.texts()))
        further = APART.join(decoded(text))
        return [text, further] if further else [text]

    @_made_once
    def folded(self) -> list[str]:
        """The same in one spelling."""
        return [folded(text) for text in self.plain]

    @_made_once
    def words(self) -> list[Text]:
        """The same, ready to look for keywords in."""
        return [reading for text in self.folded for reading in readings(text)]

    @_made_once
    def _content(self) -> "_Content":
        content = _Content(self._headers)
        for name, value in self._payload.items():
            if name != "model":
                # It does not go to any upstream: each is asked for its own model.
                content.read_field(name, value)
        return content


class _Content:
    """What is found on one walk through a request, whose body is at most 32 deep."""

    def __init__(self, beside: Iterable[str]) -> None:
        self.has_media = False
        self.chars = 0
        self._said: list[str] = []
        self._beside: dict[str, None] = dict.fromkeys(beside)

    def texts(self) -> Iterator[str]:
        """What is said, and then each key and each other value once."""
        return itertools.chain(self._said, (text for text in self._beside if text not in _VOCABULARY))

    def read_field(self, name: str, value: Any) -> None:
        """Read a field of the request."""
        self._beside[name] = None
        holds_media = name not in _WITHOUT_MEDIA
        if name == "tools" and isinstance(value, list):
            # A tool of the provider's may come with files; in a function's schema these are only names.
            holds_media = any(isinstance(tool, dict) and "container" in tool for tool in value)
        self.has_media |= holds_media and bool(value) and _holds_media(name, value)
        said: list[str] = []
        self._read(name, value, said, holds_media)
        self._said.append("\n".join(said))
        if name in _CONVERSATION:
            self.chars += sum(map(len, said))

    def _read(self, key: str, value: Any, said: list[str], may_hold: bool) -> None:
        if isinstance(value, str):
            self._read_text(key, value, said)
        elif isinstance(value, list):
            parts = [] if key == "content" or (key in _SAID and all(map(_is_part, value))) else said
            for item in value:
                if item or item == 0:
                    self._read(key, item, parts, may_hold)
            if parts and parts is not said:
                said.append(JOINT.join(parts))
        elif isinstance(value, dict):
            is_call = value.get("type") in _CALLS
            for name, item in value.items():
                self._beside[name] = None
                if item or item == 0:
                    within = may_hold and name not in _NAMES_ONLY and not (is_call and name in _GIVEN)
                    self.has_media |= within and _holds_media(name, item)
                    self._read(name, item, said, within)
        elif value is not None and not isinstance(value, bool):
            self._beside[str(value)] = None

    def _read_text(self, key: str, text: str, said: list[str]) -> None:
        if key in _SAID:
            said.append(text)
        else:
            self._beside[text] = None
        if not self.has_media:
            starts = range(0, len(text), PIECE) if "data:" in text else ()
            is_data = any(_DATA_URL.search(text, start, start + PIECE + _LONGEST_HEAD) for start in starts)
            self.has_media = is_data or _MAGIC.match(text, 0, _LONGEST_HEAD) is not None


def _is_part(item: Any) -> bool:
    """Whether it is a piece of a text, and no message of its own."""
    return isinstance(item, dict) and item.keys().isdisjoint(("role", "content"))


def _holds_media(key: str, value: Any) -> bool:
    """Whether a key or type says that its value is, names or holds a picture, a sound or a file."""
    if key == "type":
        return isinstance(value, str) and _MEDIA_TYPE.search(value[:_LONGEST_HEAD].lower()) is not None
    name = _plain_name(key)
    return _MEDIA_KEY.fullmatch(name) is not None or (
        not isinstance(value, str) and _FILE_KEY.fullmatch(name) is not None
    )


@lru_cache(4096)
def _plain_name(key: str) -> str:
    return _OTHER.sub("", key[:64].lower())
