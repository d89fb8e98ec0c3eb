"""Profiles that ship with the package, as YAML."""
