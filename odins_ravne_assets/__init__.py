"""Odins Ravne: the Dagster code location and its rooms."""

import os

# For child processes that import ONNX Runtime before gpu_kernels, which has the reason.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
