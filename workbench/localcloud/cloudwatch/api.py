"""CloudWatch's API on a local cloud: metrics put, read and listed.

boto3 of today speaks JSON 1.0 with it, the JavaScript SDK 3 CBOR, and everything older than late in
2025 forms (botocore's model has all three). What has an error code of its own in forms is named by
that one in a header.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.localcloud.cloudwatch.alarms import Alarms
from workbench.localcloud.cloudwatch.dashboards import Dashboards
from workbench.localcloud.cloudwatch.metrics import RETENTION_SECONDS, Metrics, Summary, metric_key
from workbench.localcloud.cloudwatch.statistics import (
    dimensions,
    evaluate_queries,
    metrics_validation_error,
    parse_statistic,
    summarize_by_period,
)
from workbench.localcloud.core import validation
from workbench.localcloud.core.dispatch import JsonService
from workbench.localcloud.core.formats import find_protocol, refuse
from workbench.localcloud.core.paging import Pager
from workbench.localcloud.core.protocol import AwsError, Operation, not_implemented_error, now
from workbench.localcloud.core.store import Store
from workbench.localcloud.core.tags import Tags
from workbench.modelserver.http import Request, Response

MAX_DATA_POINTS = 100_800
"""Data points of a page of GetMetricData (API reference)."""

_MAX_STATISTICS = 1440  # data points of GetMetricStatistics (API reference)
_MAX_QUERIES = 500  # of GetMetricData (API reference)
_PAGER = Pager(500)  # metrics of a page (API reference, ListMetrics)
_MAX_VALUES = 150  # of a datum (API reference, MetricDatum)
_MAX_DATA = 1000  # of a PutMetricData (API reference)
_MAX_BODY_BYTES = 1_048_576  # bytes of a PutMetricData, unpacked (API reference)
_MAX_VALUE = 2.0**360  # of a value, either way (API reference, MetricDatum)
_MAX_FUTURE_SECONDS = 7200  # seconds that a time may lie ahead (API reference, MetricDatum)
_RECENT_SECONDS = 3 * 3600  # seconds: PT3H


class CloudWatch:
    """Answers CloudWatch's operations."""

    def __init__(self, store: Store, metrics: Metrics, alarms: Alarms) -> None:
        self._metrics = metrics
        dashboards, tags = Dashboards(store), Tags(store)
        _take_in_tags(store)
        operations: dict[str, Operation] = {
            "PutMetricData": self._put,
            "GetMetricData": self._get,
            "GetMetricStatistics": self._statistics,
            "ListMetrics": self._list,
            **dashboards.operations(),
            **alarms.operations(),
            **tags.operations(
                ("TagResource", "ListTagsForResource", "UntagResource"),
                member="ResourceARN",
                missing=("ResourceNotFoundException", 404),
            ),
        }
        self._service = JsonService("cloudwatch", operations)

    async def answer(self, request: Request) -> Response:
        """Return the answer to a request, which may be an error."""
        try:
            request.body = _decompress_body(request)
            return await self._service.answer(request)
        except AwsError as error:
            return _refuse(error, request)

    # --- metrics

    async def _put(self, params: dict[str, Any]) -> dict[str, Any]:
        namespace, data = params["Namespace"], params.get("MetricData", [])
        if params.get("EntityMetricData"):
            raise not_implemented_error("Metrics of entities (EntityMetricData)")
        if namespace.startswith("AWS/"):
            raise _value_error(f"Namespaces that begin with AWS/ are AWS's own, got {namespace}.")
        if not data or len(data) > _MAX_DATA:
            raise _value_error(f"MetricData must have 1 to {_MAX_DATA} items, got {len(data)}.")
        present = now()
        summaries = [
            (datum, _check_time(datum, present), _parse_datum(datum, f"MetricData.member.{at}"))
            for at, datum in enumerate(data, start=1)
        ]
        for datum, at, summary in summaries:
            width = 1 if datum.get("StorageResolution", 60) < 60 else 60
            key = metric_key(namespace, datum["MetricName"], dimensions(datum))
            series = self._metrics.series(key, unit=datum.get("Unit", "None"), width=width)
            series.bucket(at).merge(summary)
        return {}

    async def _get(self, params: dict[str, Any]) -> dict[str, Any]:
        queries = params["MetricDataQueries"]
        if len(queries) > _MAX_QUERIES or len({each["Id"] for each in queries}) < len(queries):
            raise metrics_validation_error(
                f"A request has at most {_MAX_QUERIES} queries, each with its own Id."
            )
        start, end = params["StartTime"], params["EndTime"]
        backwards = params.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        found = []
        for query, by_unit in evaluate_queries(self._metrics, queries, start=start, end=end):
            points = [point for values in by_unit.values() for point in values.items()]
            points.sort(key=lambda point: point[0], reverse=backwards)  # those of one time by unit
            found.append((query, points))
        most = max(1, min(params.get("MaxDatapoints", MAX_DATA_POINTS), MAX_DATA_POINTS))
        begin = _PAGER.start(params, 0)
        results, left = _take_points(found, begin, most)
        more = _PAGER.continuation(begin + most) if left else {}
        return {"MetricDataResults": results, "Messages": [], **more}

    async def _statistics(self, params: dict[str, Any]) -> dict[str, Any]:
        named, extended = params.get("Statistics", []), params.get("ExtendedStatistics", [])
        if not named and not extended:
            raise AwsError(
                "InvalidParameterCombinationException",
                "Must specify either Statistics or ExtendedStatistics",
            )
        computed = {name: parse_statistic(name) for name in [*named, *extended]}
        by_unit = summarize_by_period(
            self._metrics,
            params,
            period=params["Period"],
            start=params["StartTime"],
            end=params["EndTime"],
            unit=params.get("Unit"),
        )
        points = [(unit, *point) for unit, found in by_unit.items() for point in found]
        if len(points) > _MAX_STATISTICS:
            raise AwsError(
                "InvalidParameterCombinationException",
                f"You have requested up to {len(points)} datapoints, which exceeds the limit of "
                f"{_MAX_STATISTICS}. Lengthen the Period, or move the window's ends together.",
            )
        datapoints = []
        for unit, at, summary in points:
            point = {"Timestamp": at, "Unit": unit}
            point |= {name: computed[name](summary) for name in named}
            if extended:
                values = {name: computed[name](summary) for name in extended}
                known = {name: value for name, value in values.items() if value is not None}
                point["ExtendedStatistics"] = known
            datapoints.append(point)
        return {"Label": params["MetricName"], "Datapoints": datapoints}

    async def _list(self, params: dict[str, Any]) -> dict[str, Any]:
        recent = now() - _RECENT_SECONDS if "RecentlyActive" in params else -math.inf
        wanted = {(each["Name"], each.get("Value")) for each in params.get("Dimensions", [])}
        keys = [
            (metric.namespace, metric.name, metric.dimensions)
            for metric in self._metrics.all()
            if params.get("Namespace", metric.namespace) == metric.namespace
            and params.get("MetricName", metric.name) == metric.name
            and wanted <= {*metric.dimensions, *((name, None) for name, _ in metric.dimensions)}
            and metric.last >= recent
        ]
        page, more = _PAGER.page(list(dict.fromkeys(keys)), params)  # once, whatever its units
        listed = [
            {
                "Namespace": namespace,
                "MetricName": name,
                "Dimensions": [{"Name": each, "Value": value} for each, value in pairs],
            }
            for namespace, name, pairs in page
        ]
        return {"Metrics": listed, **more}


def _take_in_tags(store: Store) -> None:
    """Take in the tags of a folder of before December 2026, where CloudWatch kept its own."""
    with store.write() as db:
        kept = "SELECT 1 FROM sqlite_master WHERE name = 'cloudwatch_tags'"
        if db.execute(kept).fetchone() is None:
            return
        db.execute(
            "INSERT OR IGNORE INTO tagged SELECT arn FROM dashboards"
            " UNION SELECT json_extract(content, '$.AlarmArn') FROM alarms"
        )
        db.execute(
            "INSERT OR IGNORE INTO tags SELECT arn, each.key, each.value"
            " FROM cloudwatch_tags JOIN tagged USING (arn), json_each(cloudwatch_tags.tags) AS each"
        )
        db.execute("DROP TABLE cloudwatch_tags")


def _refuse(error: AwsError, request: Request) -> Response:
    """Return an error with the code that clients know it by, which can differ from its name."""
    model, code = validation.service("cloudwatch"), error.code
    if any(each.name == code for each in model.error_shapes):
        code = model.shape_for(code).metadata.get("error", {}).get("code", code)
    if find_protocol(request, "monitoring") == "query":
        return refuse(AwsError(code, error.message, error.status), request, "monitoring")
    response = refuse(error, request, "monitoring")
    # how a service that spoke forms before keeps its old codes known (Smithy, awsQueryCompatible)
    side = "Sender" if error.status < 500 else "Receiver"
    response.headers = [*response.headers, ("x-amzn-query-error", f"{code};{side}")]
    return response


def _decompress_body(request: Request) -> bytes:
    # SDKs pack what has 10 KiB or more (Smithy, requestCompression)
    if request.headers.get("content-encoding", "") != "gzip":
        return request.body
    unpacking = zlib.decompressobj(wbits=31)  # of gzip alone
    try:
        body = unpacking.decompress(request.body, _MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise AwsError("SerializationException", f"The body is no gzip: {error}.") from error
    if len(body) > _MAX_BODY_BYTES:
        raise AwsError("RequestEntityTooLarge", f"The body exceeds {_MAX_BODY_BYTES} bytes.", 413)
    return body


def _value_error(message: str) -> AwsError:
    """Return what PutMetricData answers to values that cannot be."""
    return AwsError("InvalidParameterValueException", message)


def _check_time(datum: Mapping[str, Any], present: float) -> float:
    at = float(datum.get("Timestamp", present))
    if not present - RETENTION_SECONDS <= at <= present + _MAX_FUTURE_SECONDS:
        raise _value_error(
            f"The time of {datum['MetricName']} must be within the last "
            f"{RETENTION_SECONDS / 86_400:g} days and at most two hours ahead."
        )
    return at


def _parse_datum(datum: Mapping[str, Any], place: str) -> Summary:
    """Return what a datum says of its metric; errors name it by its place, as AWS does."""
    name = datum["MetricName"]
    summary = Summary()
    if _find_way(datum, place) == "StatisticValues":
        return _parse_statistics(name, datum["StatisticValues"])
    values = datum.get("Values") or [datum.get("Value")]
    counts = datum.get("Counts") or [1.0] * len(values)
    if len(values) != len(counts):
        raise _value_error(
            f"The parameters {place}.Values and {place}.Counts must be of the same size."
        )
    if len(values) > _MAX_VALUES:
        raise _value_error(f"{name} must have at most {_MAX_VALUES} Values, got {len(values)}.")
    for value, count in zip(values, counts, strict=True):
        if not _is_valid(value) or not _is_valid(count) or count < 0:
            raise _value_error(f"{name} must have finite values, and counts that are not negative.")
        if count:
            summary.add(float(value), float(count))
    return summary


def _find_way(datum: Mapping[str, Any], place: str) -> str:
    """Return the one member that holds a datum's values."""
    ways = [name for name in ("Value", "Values", "StatisticValues") if name in datum]
    if not ways:
        raise _value_error(f"{datum['MetricName']} needs one of Value, Values and StatisticValues.")
    if len(ways) > 1:
        code = "Combination" if "StatisticValues" in ways else "Value"
        raise AwsError(
            f"InvalidParameter{code}Exception",
            f"The parameters {place}.{ways[0]} and {place}.{ways[1]} are mutually exclusive and "
            "you have specified both.",
        )
    return ways[0]


def _parse_statistics(name: str, given: Mapping[str, float]) -> Summary:
    """Return values that are known by their statistics: percentiles only where all are equal."""
    count, least, most = given["SampleCount"], given["Minimum"], given["Maximum"]
    if not all(map(_is_valid, given.values())) or count <= 0 or least > most:
        raise _value_error(f"{name} must have finite StatisticValues, and a SampleCount above 0.")
    known = Summary()
    # then every percentile is that value
    if least == most:
        known.add(least, count)
        return known
    return Summary(count, given["Sum"], least, most)


def _is_valid(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= _MAX_VALUE


def _take_points(
    found: Sequence[tuple[Mapping[str, Any], list[tuple[int, float]]]], begin: int, most: int
) -> tuple[list[dict[str, Any]], bool]:
    """Return the results of one page of data points, counted over all, and whether more follow."""
    results, passed, end = [], 0, begin + most
    for query, points in found:
        shown = points[max(0, begin - passed) : max(0, end - passed)]
        after = passed + len(points)
        if shown or (not points and begin <= passed < end):
            results.append(_format_result(query, shown, whole=after <= end))
        passed = after
    return results, passed > end


def _format_result(
    query: Mapping[str, Any], points: list[tuple[int, float]], *, whole: bool
) -> dict[str, Any]:
    metric = query.get("MetricStat", {}).get("Metric", {}).get("MetricName", query["Id"])
    return {
        "Id": query["Id"],
        "Label": query.get("Label", metric),
        "Timestamps": [at for at, _ in points],
        "Values": [value for _, value in points],
        "StatusCode": "Complete" if whole else "PartialData",
    }
