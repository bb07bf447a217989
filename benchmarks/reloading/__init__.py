"""Versions that come and go under load."""
