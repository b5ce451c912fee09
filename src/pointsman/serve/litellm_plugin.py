"""A classifier for LiteLLM: `classifier_type: custom`, `classifier_plugin: <this module>.classifier`.

LiteLLM copies the object with a deployment's parameters, so the object holds names only; the loaded router is
the module's, shared by all copies. No answer means LiteLLM's own `classifier_fallback`.
"""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pointsman.runtime.chat import text_of_messages
from pointsman.runtime.router import Router

_ROUTERS: dict[str | None, Router] = {}
_LOCK = threading.Lock()
_MESSAGES = ("structured_messages", "raw_messages", "messages")
"""Where messages are looked for: in every surface's one shape first, then as they came."""


class PointsmanClassifier:
    """Names the tier of a request.

    Args:
        local: LiteLLM's name of the tier that the local model serves.
        cloud: likewise of the cloud model.
        artifact: directory of an artifact; None takes the settings' or the shipped one.
    """

    def __init__(self, local: str = "SIMPLE", cloud: str = "COMPLEX", artifact: str | None = None) -> None:
        self._tiers = {"local": local, "cloud": cloud}
        self._artifact = artifact

    async def classify(self, context: Any) -> str | None:
        """The tier for a request, or None where there is no text to read.

        Args:
            context: LiteLLM's RoutingContext with `structured_messages` and `raw_messages`; or anything with
                `messages` or `prompt`, as attributes or as keys.

        Raises:
            PointsmanError: the router cannot be opened or does not answer; LiteLLM then falls back.
        """
        messages = _messages(context)
        return await asyncio.to_thread(self._decide, messages) if messages else None

    def _decide(self, messages: Sequence[Mapping[str, Any]]) -> str | None:
        router = _router(self._artifact)
        text = text_of_messages(messages, router.manifest.chat)
        return self._tiers[router.route(text).target] if text else None


def _router(artifact: str | None) -> Router:
    with _LOCK:
        if artifact not in _ROUTERS:
            _ROUTERS[artifact] = Router.open(artifact)
        return _ROUTERS[artifact]


def _messages(context: Any) -> list[Mapping[str, Any]]:
    for name in _MESSAGES:
        messages = _field(context, name)
        if messages and isinstance(messages, Sequence) and not isinstance(messages, str):
            return [message for message in messages if isinstance(message, Mapping)]
    prompt = _field(context, "prompt")
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else []


def _field(context: Any, name: str) -> Any:
    return context.get(name) if isinstance(context, Mapping) else getattr(context, name, None)


classifier = PointsmanClassifier()
"""Ready to be named in a configuration."""
