"""Pages about runs: one HTML file that needs no internet."""
