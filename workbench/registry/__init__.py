"""Versions of models: who approved them, where they came from, and their files."""
