"""API keys: what one may do, for whom, how often, and until when; nothing here knows HTTP."""
