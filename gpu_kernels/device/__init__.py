"""The GPU: its driver, the Warp kernels, streams, and preprocessing on it."""
