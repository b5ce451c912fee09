"""pointsman: decide, per query, whether the local model is enough or the cloud model is needed."""

from __future__ import annotations

import importlib
import os

# ONNX Runtime reports home, and leaves an identifier on the disk, from the moment it is imported, unless
# this variable is set before. It is the one thing that importing this package does.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# As `typing` has it, which takes longer to import than the rest: Ctrl-C is not handled before this is done.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pointsman.artifact.store import Artifact
    from pointsman.decision import Decision, Reason
    from pointsman.errors import PointsmanError
    from pointsman.labels import LabelSet
    from pointsman.policy import Policy
    from pointsman.runtime.router import Router
    from pointsman.runtime.session import SessionConfig
    from pointsman.settings import Settings

__all__ = [
    "Artifact",
    "Decision",
    "LabelSet",
    "PointsmanError",
    "Policy",
    "Reason",
    "Router",
    "SessionConfig",
    "Settings",
    "__version__",
]

__version__ = "0.2.0"

_HOMES = {
    "Artifact": "artifact.store",
    "Decision": "decision",
    "LabelSet": "labels",
    "PointsmanError": "errors",
    "Policy": "policy",
    "Reason": "decision",
    "Router": "runtime.router",
    "SessionConfig": "runtime.session",
    "Settings": "settings",
}
_ROOMS = ("artifact", "decision", "errors", "labels", "policy", "runtime", "settings")


def __getattr__(name: str) -> Any:
    """Import a public name when it is first read: numpy takes a while, and Ctrl-C would show a traceback."""
    if name in _ROOMS:
        return importlib.import_module(f"pointsman.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'pointsman' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"pointsman.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
