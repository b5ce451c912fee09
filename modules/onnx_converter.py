"""The guide's module: `from modules.onnx_converter import MobileBertONNXConverter`."""

from pointsman.compat.guide import MobileBertONNXConverter
from pointsman.compat.guide_functions import batch_inference, inference_session, version_model

__all__ = ["MobileBertONNXConverter", "batch_inference", "inference_session", "version_model"]
