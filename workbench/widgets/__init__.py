"""Controls for notebooks: each holds a value and calls functions given to it."""
