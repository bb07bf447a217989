"""From sequences to predictions in exact batches: no HTTP, no settings, no metrics library."""
