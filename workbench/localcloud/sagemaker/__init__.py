"""SageMaker of the local cloud."""
