"""Processes in which models and functions run."""
