"""Stage 3: observations (visits in texts for users), and their JSON files."""
