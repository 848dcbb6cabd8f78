"""What tells of an asynchronous endpoint's results: a topic of SNS, and a queue that hears of it.

Both have the deployment's name and its tag, so that whoever reads the ledger can end them.
"""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from workbench.cloud.aws import Cloud
from workbench.cloud.client import ignore_missing
from workbench.cloud.ledger import LedgerEntry

_ATTEMPTS = 5  # nothing is timed here


def subscribe(entry: LedgerEntry) -> tuple[str, str]:
    """Return a topic's ARN and the URL of a queue that gets its messages, both new."""
    with (
        _client(entry.cloud, "sns") as sns,
        _client(entry.cloud, "sqs") as sqs,
        entry.cloud.translate_errors("make a topic and a queue"),
    ):
        topic = str(sns.create_topic(Name=entry.name, Tags=entry.tags)["TopicArn"])
        tags = {each["Key"]: each["Value"] for each in entry.tags}
        queue = str(sqs.create_queue(QueueName=entry.name, tags=tags)["QueueUrl"])
        wanted = {"QueueUrl": queue, "AttributeNames": ["QueueArn"]}
        arn = sqs.get_queue_attributes(**wanted)["Attributes"]["QueueArn"]
        policy = json.dumps(_policy(topic, arn))
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"RawMessageDelivery": "true"},
        )
    return topic, queue


def unsubscribe(entry: LedgerEntry) -> None:
    """Delete an entry's topic and queue, where there are any."""
    with _client(entry.cloud, "sns") as sns, _client(entry.cloud, "sqs") as sqs:
        with ignore_missing(), entry.cloud.translate_errors("delete a topic"):
            # Creating what exists returns its ARN: SNS finds topics by name in no other way.
            topic = sns.create_topic(Name=entry.name, Tags=entry.tags)["TopicArn"]
            sns.delete_topic(TopicArn=topic)
        with ignore_missing(), entry.cloud.translate_errors("delete a queue"):
            sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=entry.name)["QueueUrl"])


def _policy(topic: str, queue: str) -> dict[str, Any]:
    """Return the policy that lets a topic send to a queue, and nothing else."""
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    return {"Version": "2012-10-17", "Statement": [allowed]}


@contextlib.contextmanager
def _client(cloud: Cloud, service: str) -> Iterator[Any]:
    with contextlib.closing(cloud.client(service, attempts=_ATTEMPTS)) as client:
        yield client
