"""Versions that are published and activated by a process that is killed."""
