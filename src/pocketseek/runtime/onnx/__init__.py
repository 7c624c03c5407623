"""What running a model with ONNX Runtime needs besides ONNX Runtime itself, which only onnx_executor.py imports."""
