"""Make it better: an ONNX detector becomes trainable, and a smaller one gets its accuracy back from frames without labels."""
