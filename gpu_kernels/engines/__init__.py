"""Inference engines: ONNX Runtime on the CPU, TensorRT on the GPU, and their caches."""
