"""S3 of the local cloud.

What reads and checks requests raises the `AwsError` that S3 answers to what is not as S3 takes it.
"""
