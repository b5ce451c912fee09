"""What an error of a call means: whether to try again, and when; whether it was paid; what to say of it."""

import contextlib
import math
import random
import time
from email.utils import parsedate_to_datetime
from typing import Any

import openai

_LONGEST_WAIT_S = 120.0
_SHOWN_CHARS = 300
TOO_LATE = "no answer in time (it may have been paid)"
_BEGAN = "pointsman.answer_began"
_HOPELESS = (
    openai.AuthenticationError,
    openai.PermissionDeniedError,
    openai.NotFoundError,
)


def pause_s(error: openai.OpenAIError, wait_s: float) -> float | None:
    """Seconds to wait before the same call is made again; None where it must not be.

    Args:
        wait_s: where the endpoint does not say how long.
    """
    if _is_connection(error):
        return wait_s * random.uniform(0.75, 1.0)
    if not isinstance(error, openai.APIStatusError) or is_hopeless(error):
        return None
    if error.status_code not in (408, 409, 429) and error.status_code < 500:
        return None
    asked = _retry_after(error)
    wait_s = wait_s * random.uniform(0.75, 1.0) if asked is None else asked
    return wait_s if wait_s <= _LONGEST_WAIT_S else None


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds that the endpoint asks to wait, by a number or a date; None where it does not say."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with contextlib.suppress(ValueError):
            seconds = float(error.response.headers.get(name, "")) * unit_s
            return seconds if 0.0 <= seconds < math.inf else None
    with contextlib.suppress(ValueError):
        until = parsedate_to_datetime(error.response.headers.get("retry-after", ""))
        return max(0.0, until.timestamp() - time.time())
    return None


async def note_answer(response: Any) -> None:
    """A hook of the client: note at its request that an answer began."""
    response.request.extensions[_BEGAN] = response.is_success


def may_be_paid(error: openai.OpenAIError) -> bool:
    """Whether the call took too long, its answer broke off, or what came cannot be read."""
    return not isinstance(error, openai.APIStatusError) and not _is_connection(error)


def _is_connection(error: openai.OpenAIError) -> bool:
    """Whether no request arrived, or the connection broke before an answer began."""
    if isinstance(error, openai.APITimeoutError):
        return type(error.__cause__).__name__ in ("ConnectTimeout", "PoolTimeout")
    return isinstance(error, openai.APIConnectionError) and not error.request.extensions.get(_BEGAN)


def is_hopeless(error: openai.OpenAIError) -> bool:
    """Whether it will be the same for every call: the key, the model or the account's money."""
    return isinstance(error, _HOPELESS) or getattr(error, "code", None) == "insufficient_quota"


def said(error: openai.OpenAIError, key: str) -> str:
    """An error in one line, without the request and the key."""
    if isinstance(error, openai.APITimeoutError) and may_be_paid(error):
        return TOO_LATE
    if isinstance(error, openai.APIConnectionError) and may_be_paid(error):
        return "the answer broke off (it may have been paid)"
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, openai.APIStatusError):
        text = f"status {error.status_code}: {(str(error.message).splitlines() or [''])[0]}"
        if (asked := _retry_after(error)) is not None and asked > _LONGEST_WAIT_S:
            text = f"asks to wait {asked:.0f} s, {text}"
    return _without(key, text)[:200]


def shortened(text: str, key: str) -> str:
    """The beginning of a reply, quoted, without the key."""
    text = _without(key, text)
    return repr(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}...")


def _without(key: str, text: str) -> str:
    return text.replace(key, "[key]") if key else text
