"""Prices and costs: the dated price sheet, billed quantities, and the items they come to."""
