"""What tells of an asynchronous endpoint's results: a topic of SNS, and a queue that hears of it.

Both have the deployment's name and its tag, so that whoever reads the ledger can end them.
"""

import json
from typing import Any

from workbench.cloud.client import ignore_missing, open_client
from workbench.cloud.ledger import LedgerEntry


def subscribe(entry: LedgerEntry) -> tuple[str, str]:
    """Return a topic's ARN and the URL of a queue that gets its messages, both new."""
    with (
        open_client(entry.cloud, "sns") as sns,
        open_client(entry.cloud, "sqs") as sqs,
        entry.cloud.translate_errors("make a topic and a queue"),
    ):
        topic = str(sns.create_topic(Name=entry.name, Tags=entry.tags)["TopicArn"])
        created = sqs.create_queue(QueueName=entry.name, tags={"workbench": entry.id})
        queue = str(created["QueueUrl"])
        arn = let_send(sqs, queue, service="sns", source=topic)
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"RawMessageDelivery": "true"},  # else SNS wraps it in JSON of its own
        )
    return topic, queue


def unsubscribe(entry: LedgerEntry) -> None:
    """Delete an entry's topic and queue, where there are any."""
    with open_client(entry.cloud, "sns") as sns, open_client(entry.cloud, "sqs") as sqs:
        with ignore_missing(), entry.cloud.translate_errors("delete a topic"):
            # Creating what exists returns its ARN: SNS finds topics by name in no other way.
            topic = sns.create_topic(Name=entry.name, Tags=entry.tags)["TopicArn"]
            sns.delete_topic(TopicArn=topic)
        with ignore_missing(), entry.cloud.translate_errors("delete a queue"):
            sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=entry.name)["QueueUrl"])


def let_send(sqs: Any, queue: str, *, service: str, source: str) -> str:  # noqa: ANN401 - boto3's
    """Let one topic or rule of a service, and nobody else, send to a queue; return its ARN."""
    asked = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    arn = str(asked["Attributes"]["QueueArn"])
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": source}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    return arn
