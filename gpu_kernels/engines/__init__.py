"""Engines that run a model: ONNX Runtime, TensorRT, and their caches."""
