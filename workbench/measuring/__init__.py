"""Measuring a model: load, service times, runs and batch inference."""
