"""The GPU: its driver, its kernels (Warp), and preprocessing on it."""
