"""HTTP around the engine: routes, wire types, errors, limits and metrics."""
