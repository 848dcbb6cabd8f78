"""An ensemble on a cloud."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DeployedEnsemble:
    """Stub."""
