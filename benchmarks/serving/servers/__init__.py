"""Other servers of the same ONNX file, each as its own documentation would have it."""
