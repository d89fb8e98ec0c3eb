"""The cost ledger: its table, its rows, and their writers."""
