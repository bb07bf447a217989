"""Vet model files before they serve; an unknown file is run in a child process only."""
