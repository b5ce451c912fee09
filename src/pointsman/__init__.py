"""pointsman: decide, per query, whether the local model is enough or the cloud model is needed."""

from pointsman.decision import Decision, Reason
from pointsman.errors import PointsmanError
from pointsman.labels import LabelSet
from pointsman.policy import Policy
from pointsman.runtime.router import Router

__all__ = ["Decision", "LabelSet", "PointsmanError", "Policy", "Reason", "Router", "__version__"]

__version__ = "0.1.0"
