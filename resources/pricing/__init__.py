"""Prices of AWS, their sources and history, and the expected cost of spot machines."""
