"""The sandbox's HTTP server and the answers of each API."""
