"""Who may ask what: the table of routes, and whoever stands at the door."""
