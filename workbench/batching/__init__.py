"""When requests that wait become a batch."""
