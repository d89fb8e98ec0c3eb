"""The munin command."""
