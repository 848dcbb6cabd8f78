"""CloudWatch's dashboards: kept, listed and given back as they came."""

import json
from typing import Any

from workbench.localcloud.core.protocol import ACCOUNT, AwsError, Operation, now
from workbench.localcloud.core.store import Store, StoreTable
from workbench.localcloud.core.tags import Tags

_COLUMNS = "name TEXT PRIMARY KEY, arn TEXT NOT NULL, body TEXT NOT NULL, modified REAL NOT NULL"


class Dashboards:
    """Dashboards, which are kept and given back as they came."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dashboards = StoreTable(store, "dashboards", _COLUMNS)
        self._tags = Tags(store)

    def operations(self) -> dict[str, Operation]:
        """Return what answers the operations, by name."""
        return {
            "PutDashboard": self._put,
            "GetDashboard": self._get,
            "ListDashboards": self._list,
            "DeleteDashboards": self._delete,
        }

    async def _put(self, params: dict[str, Any]) -> dict[str, Any]:
        name, body = params["DashboardName"], params["DashboardBody"]
        try:
            sound = isinstance(json.loads(body).get("widgets"), list)
        except (ValueError, AttributeError, RecursionError):
            sound = False
        if not sound:
            raise AwsError(
                "DashboardInvalidInputError",
                "The dashboard body is invalid: it must be a JSON object with the list widgets.",
            )
        its_arn = _make_arn(name)
        with self._store.write():
            if self._dashboards.find(name=name) is None:
                self._tags.begin(its_arn, params.get("Tags", []))
            self._dashboards.put(name=name, arn=its_arn, body=body, modified=now())
        return {"DashboardValidationMessages": []}

    async def _get(self, params: dict[str, Any]) -> dict[str, Any]:
        found = self._get_dashboard(params["DashboardName"])
        return {
            "DashboardArn": found["arn"],
            "DashboardBody": found["body"],
            "DashboardName": found["name"],
        }

    async def _list(self, params: dict[str, Any]) -> dict[str, Any]:
        prefix = params.get("DashboardNamePrefix", "")
        entries = [
            {
                "DashboardName": found["name"],
                "DashboardArn": found["arn"],
                "LastModified": found["modified"],
                "Size": len(found["body"].encode()),
            }
            for found in self._dashboards.rows(order="name")
            if found["name"].startswith(prefix)
        ]
        return {"DashboardEntries": entries}

    async def _delete(self, params: dict[str, Any]) -> dict[str, Any]:
        if not params["DashboardNames"]:
            raise AwsError("InvalidParameterValueException", "DashboardNames must not be empty.")
        # all or none here; AWS deletes as many as it can (API reference, DeleteDashboards)
        for name in params["DashboardNames"]:
            self._get_dashboard(name)
        with self._store.write():
            for name in params["DashboardNames"]:
                self._tags.end(_make_arn(name))
                self._dashboards.remove(name=name)
        return {}

    def _get_dashboard(self, name: str) -> dict[str, Any]:
        found = self._dashboards.find(name=name)
        if found is None:
            raise AwsError("DashboardNotFoundError", f"Dashboard {name} does not exist.", 404)
        return found


def _make_arn(name: str) -> str:
    return f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{name}"  # dashboards belong to no region
