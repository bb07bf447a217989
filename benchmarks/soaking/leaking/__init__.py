"""A folder for PYTHONPATH: what is started with it leaks; no part of what is shipped."""
