"""Exports for other tools: MegaDetector JSON, Camtrap DP, CSV."""
