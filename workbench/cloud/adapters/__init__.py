"""Adapters: a file for each inference type that a cloud can make, in a table by its kind."""

from workbench.cloud.adapters.asynchronous import AsyncAdapter
from workbench.cloud.adapters.base import ADAPTERS
from workbench.cloud.adapters.batch_transform import BatchTransformAdapter
from workbench.cloud.adapters.lambda_ import LambdaAdapter
from workbench.cloud.adapters.lambda_instances import LambdaManagedAdapter
from workbench.cloud.adapters.real_time import RealTimeAdapter
from workbench.cloud.adapters.serverless import ServerlessAdapter
from workbench.deployment import Async, BatchTransform, Lambda, LambdaManaged, RealTime, Serverless

__all__ = ["ADAPTERS"]

ADAPTERS |= {
    RealTime.kind: RealTimeAdapter(),
    Serverless.kind: ServerlessAdapter(),
    Async.kind: AsyncAdapter(),
    BatchTransform.kind: BatchTransformAdapter(),
    Lambda.kind: LambdaAdapter(),
    LambdaManaged.kind: LambdaManagedAdapter(),
}
