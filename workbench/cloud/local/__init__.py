"""A cloud on this machine: an endpoint that boto3 takes for AWS."""
