"""Pictures as SVG, drawn from numbers that the service has: no plotting library, no files."""
