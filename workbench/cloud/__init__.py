"""Deploying models with boto3: to AWS, or to a local cloud on this machine."""
