"""The cost ledger: its table, its rows, and who writes them."""
