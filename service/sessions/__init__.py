"""Streams that keep their state: a session's steps, and the store that loses none of them."""
