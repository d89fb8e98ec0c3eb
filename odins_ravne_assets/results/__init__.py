"""Results of cameras: download, export, corrections."""
