"""Services that are killed while clients step sessions, and what is held against the answers."""
