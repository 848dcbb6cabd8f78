"""Traffic: when requests arrive, and what each of them carries."""
