"""pointsman: decide, per query, whether the local model is enough or the cloud model is needed."""

import os

# ONNX Runtime reports home, and leaves an identifier on the disk, from the moment it is imported, unless
# this variable is set before. It is the one thing that importing this package does.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

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
