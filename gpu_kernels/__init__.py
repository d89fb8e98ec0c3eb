"""Models, engines and kernels."""
