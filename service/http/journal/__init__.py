"""What became of every request: its record, and whoever counts, logs and traces it."""
