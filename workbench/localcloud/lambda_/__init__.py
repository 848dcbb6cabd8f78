"""Lambda of the local cloud."""
