"""CloudWatch of the local cloud."""
