"""The HTML report of a camera."""
