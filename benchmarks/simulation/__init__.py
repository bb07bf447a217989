"""A virtual clock, and what is played by it: nothing runs, nothing is timed."""
