"""The units that figures are given in: seconds and bytes."""

MINUTE = 60.0
"""Seconds."""

HOUR = 60 * MINUTE
"""Seconds."""

DAY = 24 * HOUR
"""Seconds."""

MB = 1024**2
"""Bytes, as AWS's limits and prices count them."""

GB = 1024 * MB
"""Bytes, likewise."""
