"""Hugin: species identification, observations, reports and exports."""
