"""Shipped profiles, as YAML files."""
