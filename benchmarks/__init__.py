"""Speed, measured against the limit and against peers; asserted nowhere."""
