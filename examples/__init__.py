"""Programs that show the whole of it working."""
