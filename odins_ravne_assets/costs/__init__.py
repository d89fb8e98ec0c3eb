"""Cost reports and plans with their I/O: reads ledgers and AWS, and calls odin."""
