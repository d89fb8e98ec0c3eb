"""Stage 3: observations (visits), and the JSON files that list them."""
