"""Table schemas, the journal, and tables built from it."""
