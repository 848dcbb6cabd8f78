"""Warm or cold: what it costs to keep an instance for calls that seldom come, and what not to."""

from workbench.idleness.report import IdleReport, idle_report

__all__ = ["IdleReport", "idle_report"]
