"""Models, engines and kernels."""

import os

# ONNX Runtime reports to Microsoft from its import on, and stores an id in ~/.cache/Microsoft.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
