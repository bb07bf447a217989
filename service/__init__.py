"""Answer over HTTP with what the repository holds; never imports torch."""
