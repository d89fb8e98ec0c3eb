"""Stage 0: media files, their headers, clocks and capture times."""
