"""ONNX graphs of our models, built with the library onnx; see docs/onnx.md."""
