"""A model server that keeps SageMaker's container contract, here and in an image on AWS alike.

It imports nothing of the workbench outside this folder, so that an image needs only the folder.
"""
