"""Application Auto Scaling of the local cloud."""
