"""Prices of AWS, their sources and history, and the economics of spot."""
