"""ONNX surgery and examination."""
