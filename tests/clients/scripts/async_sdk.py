"""aiobotocore: objects, lists and an endpoint, many requests at once."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

from aiobotocore.session import get_session
from steps import IMAGE, KEY, MODEL, NAME, REGION, ROLE, SECRET, URL, run_steps, step

PART = 5 << 20
OPTIONS = {
    "endpoint_url": URL,
    "region_name": REGION,
    "aws_access_key_id": KEY,
    "aws_secret_access_key": SECRET,
}


def with_clients(*services):
    """Have a coroutine function called with a client of each service."""

    def decorate(function):
        async def run():
            async with AsyncExitStack() as stack:
                session = get_session()
                await function(
                    *[
                        await stack.enter_async_context(session.create_client(each, **OPTIONS))
                        for each in services
                    ]
                )

        def named():
            asyncio.run(run())

        named.__name__ = function.__name__
        return named

    return decorate


@step
@with_clients("s3")
async def many_objects_at_once(s3):
    await s3.create_bucket(Bucket=NAME)
    names = [f"many/{number:03}" for number in range(100)]
    await asyncio.gather(*(s3.put_object(Bucket=NAME, Key=each, Body=each) for each in names))

    async def content(name):
        async with (await s3.get_object(Bucket=NAME, Key=name))["Body"] as body:
            return (await body.read()).decode()

    assert await asyncio.gather(*map(content, names)) == names


@step
@with_clients("s3")
async def pages_of_lists(s3):
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=NAME, PaginationConfig={"PageSize": 40}
    )
    assert [len(page["Contents"]) async for page in pages] == [40, 40, 20]


@step
@with_clients("s3")
async def upload_in_parts(s3):
    where = {"Bucket": NAME, "Key": "large"}
    upload = (await s3.create_multipart_upload(**where))["UploadId"]

    async def send(number, body):
        told = await s3.upload_part(**where, UploadId=upload, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": told["ETag"]}

    parts = await asyncio.gather(send(1, b"a" * PART), send(2, b"b"))
    await s3.complete_multipart_upload(
        **where, UploadId=upload, MultipartUpload={"Parts": list(parts)}
    )
    assert (await s3.head_object(**where))["ContentLength"] == PART + 1


@step
@with_clients("s3", "sagemaker", "sagemaker-runtime")
async def endpoint(s3, sagemaker, runtime):
    await s3.put_object(Bucket=NAME, Key="model.tar.gz", Body=Path(MODEL).read_bytes())
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{NAME}/model.tar.gz"}
    await sagemaker.create_model(ModelName=NAME, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    variant = {"VariantName": "one", "ModelName": NAME, "ServerlessConfig": serverless}
    await sagemaker.create_endpoint_config(EndpointConfigName=NAME, ProductionVariants=[variant])
    await sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
    waiter = sagemaker.get_waiter("endpoint_in_service")
    await waiter.wait(EndpointName=NAME, WaiterConfig={"Delay": 0.2, "MaxAttempts": 300})

    async def ask():
        told = await runtime.invoke_endpoint(
            EndpointName=NAME, Body="[[1.0, 2.0, 3.0]]", ContentType="application/json"
        )
        async with told["Body"] as body:
            return json.loads(await body.read())

    answers = await asyncio.gather(*(ask() for _ in range(5)))
    assert len(answers[0][0]) == 2
    assert all(each == answers[0] for each in answers)
    await sagemaker.delete_endpoint(EndpointName=NAME)


run_steps()
