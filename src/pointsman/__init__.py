"""pointsman: decide, per query, whether the local model is enough or the cloud model is needed."""

__version__ = "0.1.0"
