"""Charts: each one a function that computes a frame and a function that draws it."""
