"""The tags of alarms and dashboards."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from workbench.localcloud.core.protocol import AwsError, Operation
from workbench.localcloud.core.store import Store, StoreTable

_MAX_TAGS = 50  # of a resource (CloudWatch API Reference, TagResource)


class ResourceTags:
    """What is tagged, by ARN."""

    def __init__(self, store: Store) -> None:
        columns = "arn TEXT PRIMARY KEY, tags TEXT NOT NULL"
        self._table = StoreTable(store, "cloudwatch_tags", columns, json=["tags"])

    def of(self, arn: str) -> dict[str, str]:
        """Return the tags of a resource by key."""
        found = self._table.find(arn=arn)
        return dict(found["tags"]) if found else {}

    def add(self, arn: str, tags: Iterable[Mapping[str, str]]) -> None:
        """Add tags to a resource; a key that it has gets the new value.

        Raises:
            AwsError: They are too many.
        """
        whole = self.of(arn) | {each["Key"]: each["Value"] for each in tags}
        if len(whole) > _MAX_TAGS:
            message = f"A resource has at most {_MAX_TAGS} tags, got {len(whole)}."
            raise AwsError("InvalidParameterValueException", message)
        self._table.put(arn=arn, tags=whole)

    def drop(self, arn: str) -> None:
        """Forget the tags of a resource."""
        self._table.remove(arn=arn)

    def operations(self, exists: Callable[[str], bool]) -> dict[str, Operation]:
        """Return what answers the operations, by name; `exists` tells whether an ARN is known."""

        async def list_all(params: dict[str, Any]) -> dict[str, Any]:
            tags = self.of(params["ResourceARN"])
            return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

        async def tag(params: dict[str, Any]) -> dict[str, Any]:
            self.add(check(params), params["Tags"])
            return {}

        async def untag(params: dict[str, Any]) -> dict[str, Any]:
            arn = check(params)
            left = self.of(arn)
            for key in params["TagKeys"]:
                left.pop(key, None)
            self._table.put(arn=arn, tags=left)
            return {}

        def check(params: Mapping[str, Any]) -> str:
            arn = str(params["ResourceARN"])
            if not exists(arn):
                raise AwsError("ResourceNotFoundException", f"There is no {arn}.", 404)
            return arn

        return {"ListTagsForResource": list_all, "TagResource": tag, "UntagResource": untag}
