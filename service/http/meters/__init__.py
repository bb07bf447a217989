"""The families of metrics, one noun a file."""
