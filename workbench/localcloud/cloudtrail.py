"""CloudTrail on a local cloud: which management calls came, read back with LookupEvents.

Calls of models (InvokeEndpoint and its like), of functions and of S3's objects are data events,
which CloudTrail does not tell either unless it is paid for. Bodies and what is secret are not kept.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from botocore.exceptions import UnknownServiceError

from workbench.localcloud.core import rest
from workbench.localcloud.core.addresses import split_address
from workbench.localcloud.core.dispatch import read_call
from workbench.localcloud.core.paging import MAX_POSITION, Pager
from workbench.localcloud.core.protocol import (
    ACCOUNT,
    AwsError,
    Operation,
    Scope,
    format_time,
    new_id,
    now,
)
from workbench.localcloud.core.store import Store
from workbench.modelserver.http import Request

RETENTION_SECONDS = 90 * 86_400.0
"""Seconds of events (user guide, "Viewing recent management events")."""

MAX_EVENTS = 100_000
"""Events at most; the oldest go first."""

_PAGER = Pager(50, error="InvalidNextTokenException")  # events (API reference, LookupEvents)
_MAX_TEXT_LENGTH = 300  # characters of a text in the parameters
_HIDDEN = re.compile(
    "secret|password|credential|token|body|policydocument|environment|zipfile", re.IGNORECASE
)
_COLUMNS = {
    "EventId": "id",
    "EventName": "name",
    "EventSource": "source",
    "ReadOnly": "read_only",
    "Username": "user",
    "AccessKeyId": "access_key",
}
# each service tells CloudTrail what only reads; here the name says it
_READ_PREFIXES = ("Describe", "List", "Get", "Lookup", "Batch", "Search")
_RESOURCE_MEMBER = re.compile("[A-Za-z]*(?:Name|Arn)")
_DATA_EVENTS = {
    "events": {"PutEvents"},
    "logs": {"PutLogEvents", "GetLogEvents", "FilterLogEvents"},
    "monitoring": {"PutMetricData", "GetMetricData", "GetMetricStatistics", "ListMetrics"},
    "sns": {"Publish", "PublishBatch"},
    "sqs": {
        *("SendMessage", "SendMessageBatch", "ReceiveMessage", "DeleteMessage"),
        *("DeleteMessageBatch", "ChangeMessageVisibility", "ChangeMessageVisibilityBatch"),
    },
}
_BUCKET_OPERATIONS = {  # method and query of S3's calls that manage buckets; others are data events
    ("GET", ""): "ListBuckets",  # of no bucket
    ("PUT", ""): "CreateBucket",
    ("DELETE", ""): "DeleteBucket",
    ("GET", "location"): "GetBucketLocation",
    ("GET", "tagging"): "GetBucketTagging",
    ("PUT", "tagging"): "PutBucketTagging",
    ("DELETE", "tagging"): "DeleteBucketTagging",
}
_INVOKE_OPERATIONS = {"Invoke", "InvokeAsync", "InvokeWithResponseStream"}
_V2_OPERATIONS = {  # of Lambda's, that CloudTrail names with a v2 (recalled from its records)
    *("GetFunction", "GetFunctionConfiguration", "UpdateFunctionCode"),
    "UpdateFunctionConfiguration",
}
_RESOURCE_NAMESPACES = {"iam": "IAM", "lambda": "Lambda", "s3": "S3"}  # else SageMaker's
_MODELS = {"monitoring": "cloudwatch"}  # names of botocore's that are not those of signatures
_KEY = re.compile(r"Credential=([^/,\s]*)/")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS trail (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, at REAL NOT NULL, name TEXT NOT NULL,
    source TEXT NOT NULL, read_only TEXT NOT NULL, user TEXT NOT NULL, access_key TEXT NOT NULL,
    resources TEXT NOT NULL, content TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS trail_at ON trail (at);
"""


class ApiCall(NamedTuple):
    """A call of an operation that manages something, as its request was signed.

    `agent` is the client's own words about itself.
    """

    service: str
    region: str
    name: str
    params: Mapping[str, Any]
    agent: str
    access_key: str


def parse_call(request: Request, scope: Scope) -> ApiCall | None:
    """Return the call that a request is; None for what CloudTrail does not tell of."""
    try:
        if scope.service == "s3":
            name, params = _parse_bucket_call(request)
        elif scope.service == "lambda":
            name, params = _parse_function_call(request)
        else:
            model, params = read_call(_MODELS.get(scope.service, scope.service), request)
            name = model.name
    except (AwsError, UnknownServiceError, UnicodeDecodeError):
        return None
    if not name or name in _DATA_EVENTS.get(scope.service, ()):
        return None
    key = _KEY.search(request.headers.get("authorization", ""))
    agent = request.headers.get("user-agent", "")
    return ApiCall(scope.service, scope.region, name, params, agent, key[1] if key else "")


def _parse_bucket_call(request: Request) -> tuple[str, dict[str, Any]]:
    """Return name and parameters of a call that manages buckets; "" for any other."""
    bucket, key = split_address(request)
    query = {each: "" for each, _ in parse_qsl(request.query, keep_blank_values=True)}
    # SDKs repeat the operation's name in it
    query.pop("x-id", None)
    name = "" if key else _BUCKET_OPERATIONS.get((request.method, "&".join(query)), "")
    if (name == "ListBuckets") == bool(bucket):  # a bucket's GET lists its objects
        return "", {}
    return name, {"BucketName": bucket} if bucket else {}


def _parse_function_call(request: Request) -> tuple[str, dict[str, Any]]:
    """Return name and parameters of a call that manages functions; "" for one that calls them."""
    model, params = rest.parse_request("lambda", request)
    if model.name in _INVOKE_OPERATIONS:
        return "", {}
    # CloudTrail adds the date of the API's version to the name, as in CreateFunction20150331
    date = model.http["requestUri"].split("/")[1].replace("-", "")
    return f"{model.name}{date}{'v2' if model.name in _V2_OPERATIONS else ''}", params


class CloudTrail:
    """Keeps what was called, and answers LookupEvents."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fresh: list[tuple[Any, ...]] = []
        store.db.executescript(_SCHEMA)

    def record(self, call: ApiCall, *, error: str = "", message: str = "") -> None:
        """Keep a call, and how it was refused; it is written at the next flush or look-up."""
        at, number = now(), new_id()
        resources = _resources(call)
        read_only = "true" if call.name.startswith(_READ_PREFIXES) else "false"
        event: dict[str, Any] = {
            "eventVersion": "1.11",  # user guide, "CloudTrail record contents"
            "userIdentity": {
                "type": "IAMUser",
                "accountId": ACCOUNT,
                "accessKeyId": call.access_key,
                "userName": "local",
            },
            "eventTime": format_time(at),
            "eventSource": f"{call.service}.amazonaws.com",
            "eventName": call.name,
            "awsRegion": call.region,
            "sourceIPAddress": "127.0.0.1",
            "userAgent": call.agent[:_MAX_TEXT_LENGTH],
            "requestParameters": _redact(call.params) or None,
            "responseElements": None,
            "requestID": new_id(),
            "eventID": number,
            "readOnly": read_only == "true",
            "eventType": "AwsApiCall",
            "managementEvent": True,
            "recipientAccountId": ACCOUNT,
            "eventCategory": "Management",
        }
        if error:
            event |= {"errorCode": error, "errorMessage": message[:_MAX_TEXT_LENGTH]}
        self._fresh.append(
            (
                *(number, at, call.name, event["eventSource"], read_only, "local"),
                *(call.access_key, json.dumps(resources), json.dumps(event)),
            )
        )

    def flush(self) -> None:
        """Write down what was recorded, and forget what is too old or too much."""
        if not self._fresh:
            return
        with self._store.write() as db:
            db.executemany(
                "INSERT INTO trail VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._fresh
            )
            db.execute("DELETE FROM trail WHERE at < ?", (now() - RETENTION_SECONDS,))
            newest = "(SELECT MAX(number) FROM trail)"
            db.execute(f"DELETE FROM trail WHERE number <= {newest} - ?", (MAX_EVENTS,))  # noqa: S608
        self._fresh.clear()

    def operations(self) -> dict[str, Operation]:
        """Return what answers CloudTrail's operations, by name."""
        return {"LookupEvents": self._look_up}

    async def _look_up(self, params: dict[str, Any]) -> dict[str, Any]:
        self.flush()
        # an event of this very instant is among them
        begin, end = params.get("StartTime", 0.0), params.get("EndTime", now() + 1)
        if begin > end:
            raise AwsError("InvalidTimeRangeException", "StartTime must not be later than EndTime.")
        last = _PAGER.start(params, MAX_POSITION)
        conditions, values = ["at >= ?", "at <= ?", "number < ?"], [begin, end, last]
        for each in params.get("LookupAttributes", []):
            conditions.append(_condition(each["AttributeKey"]))
            values.append(each["AttributeValue"])
        query = (
            f"SELECT number, resources, at, content, {', '.join(_COLUMNS.values())} FROM trail "  # noqa: S608 - ours
            f"WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?"
        )
        rows = self._store.db.execute(query, (*values, _PAGER.limit(params) + 1)).fetchall()
        page, more = _PAGER.cut(rows, params, lambda row: row[0])
        events = [
            {
                "EventTime": at,
                "Resources": json.loads(resources),
                "CloudTrailEvent": content,
                **dict(zip(_COLUMNS, others, strict=True)),
            }
            for _, resources, at, content, *others in page
        ]
        return {"Events": events, **more}


def _condition(key: str) -> str:
    if key in ("ResourceName", "ResourceType"):
        one = f"SELECT 1 FROM json_each(resources) WHERE json_each.value ->> '{key}' = ?"  # noqa: S608 - one of two
        return f"EXISTS ({one})"
    return f"{_COLUMNS[key]} = ?"


def _resources(call: ApiCall) -> list[dict[str, str]]:
    """Return what a call was about: every name and ARN at the top of its parameters."""
    found = []
    space = _RESOURCE_NAMESPACES.get(call.service, "SageMaker")
    for member, value in call.params.items():
        if isinstance(value, str) and _RESOURCE_MEMBER.fullmatch(member):
            kind = re.sub("(Name|Arn)$", "", member) or "Resource"
            found.append({"ResourceType": f"AWS::{space}::{kind}", "ResourceName": value})
    return found


def _redact(content: Any) -> Any:  # noqa: ANN401 - JSON
    """Return parameters as CloudTrail shows them: no bodies, no secrets, no long texts."""
    if isinstance(content, Mapping):
        # CloudTrail's own words, and its members begin in lower case
        return {
            name[:1].lower() + name[1:]: "HIDDEN_DUE_TO_SECURITY_REASONS"
            if _HIDDEN.search(name)
            else _redact(value)
            for name, value in content.items()
        }
    if isinstance(content, list):
        return [_redact(each) for each in content[:50]]
    return content[:_MAX_TEXT_LENGTH] if isinstance(content, str) else content
