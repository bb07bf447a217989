"""Wire types, each with its one conversion into the engine's values."""
