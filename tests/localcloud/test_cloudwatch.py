"""CloudWatch on a local cloud through boto3, whose parsers hold each answer against its model.

In all three protocols: JSON, which boto3 of today speaks; forms, which all from before late 2025
speaks; and CBOR, which the JavaScript SDK 3 speaks.
"""

import json
import math
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from botocore.exceptions import ClientError

from tests import wire
from tests.hosted import until
from tests.refused import refused, unnamed
from workbench.localcloud import LocalCloud
from workbench.localcloud.cloudwatch.metrics import RESOLUTION

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module", name="protocol", params=["json", "query", "smithy-rpc-v2-cbor"])
def _protocol(request):
    return request.param


@pytest.fixture(scope="module", name="cloud")
def _cloud(protocol):  # a cloud for each, since they put the same metrics
    with LocalCloud() as cloud:
        yield cloud


@pytest.fixture(scope="module", name="aws")
def _aws(cloud, protocol):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.model.PRIORITY_ORDERED_SUPPORTED_PROTOCOLS", (protocol,))
        client = cloud.client("cloudwatch")
    with closing(client):
        assert client.meta.service_model.resolved_protocol == protocol
        if protocol == "json":
            wire.check_answers(client)
        yield client


@pytest.fixture(scope="module", name="past")
def _past():
    """A whole hour that is over."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)


def put(aws, name, *data, space="Mine"):
    aws.put_metric_data(Namespace=space, MetricData=[{"MetricName": name, **each} for each in data])


def query(name, statistic, period=60, **more):
    metric = {"Namespace": "Mine", "MetricName": name}
    return {"MetricStat": {"Metric": metric, "Period": period, "Stat": statistic}, **more}


def get(aws, queries, start, end, **more):
    """Return the results of queries by their Id, from all pages."""
    pages = aws.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[{"Id": name, **each} for name, each in queries.items()],
        StartTime=start,
        EndTime=end,
        ScanBy="TimestampAscending",
        **more,
    )
    found = {}
    for each in (each for page in pages for each in page["MetricDataResults"]):
        found.setdefault(each["Id"], []).extend(
            zip(each["Timestamps"], each["Values"], strict=True)
        )
    return found


def values(aws, queries, start, end, **more):
    found = get(aws, queries, start, end, **more)
    return {name: [value for _, value in points] for name, points in found.items()}


def refusal(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]


def test_what_was_put_is_read_by_statistic(aws, past):
    drawn = np.random.default_rng(1).lognormal(3, 1, 1500).tolist()
    for begin in range(0, 1500, 150):
        put(aws, "Drawn", {"Timestamp": past, "Values": drawn[begin : begin + 150]})
    names = ["SampleCount", "Sum", "Average", "Minimum", "Maximum", "p50", "p99", "p99.9"]
    found = values(
        aws,
        {f"m{i}": query("Drawn", name) for i, name in enumerate(names)},
        past,
        past + MINUTE,
    )
    exact = [1500, sum(drawn), sum(drawn) / 1500, min(drawn), max(drawn)]
    assert [found[f"m{i}"][0] for i in range(5)] == pytest.approx(exact, rel=1e-9)
    quantiles = np.quantile(drawn, [0.5, 0.99, 0.999], method="inverted_cdf")
    assert [found[f"m{i}"][0] for i in range(5, 8)] == pytest.approx(quantiles, rel=RESOLUTION)


def test_counts_and_statistics_are_taken_too(aws, past):
    told = {"SampleCount": 3, "Sum": 9.0, "Minimum": 1.0, "Maximum": 5.0}
    put(aws, "Counted", {"Timestamp": past, "Values": [1.0, 2.0], "Counts": [10, 0]})
    put(aws, "Counted", {"Timestamp": past, "StatisticValues": told})
    queries = {
        "n": query("Counted", "SampleCount"),
        "sum": query("Counted", "Sum"),
        "most": query("Counted", "Maximum"),
        "median": query("Counted", "p50"),
    }
    found = values(aws, queries, past, past + MINUTE)
    # CloudWatch has no percentiles of what it knows by its sum alone.
    assert found == {"n": [13], "sum": [19], "most": [5], "median": []}


def test_periods_begin_with_the_window(aws, past):
    for minute in range(6):
        put(aws, "Each", {"Timestamp": past + minute * MINUTE, "Value": 10.0**minute})
    queries = {"two": query("Each", "Sum", 120), "all": query("Each", "Sum", 3600)}
    found = get(aws, queries, past + MINUTE + timedelta(seconds=30), past + 6 * MINUTE)
    assert [value for _, value in found["two"]] == [110, 11_000, 100_000]
    assert found["two"][0][0] == past + MINUTE
    assert [value for _, value in found["all"]] == [111_110]


def test_seconds_are_told_apart_where_asked_for(aws, past):
    for second in (0, 1, 31):
        at = past + timedelta(seconds=second)
        put(aws, "Fine", {"Timestamp": at, "Value": 1.0, "StorageResolution": 1})
        put(aws, "Coarse", {"Timestamp": at, "Value": 1.0})
    queries = {"fine": query("Fine", "Sum", 30), "coarse": query("Coarse", "Sum", 30)}
    assert values(aws, queries, past, past + MINUTE) == {"fine": [2, 1], "coarse": [3]}


def test_pages_hold_no_more_points_than_asked_for(aws, past):
    for minute in range(5):
        put(aws, "Paged", {"Timestamp": past + minute * MINUTE, "Value": minute})
    queries = {
        "a": query("Paged", "Sum"),
        "none": query("Nothing", "Sum"),
        "b": query("Paged", "Sum"),
    }
    window = (past, past + 5 * MINUTE)
    assert values(aws, queries, *window, MaxDatapoints=3) == {
        "a": [0, 1, 2, 3, 4],
        "none": [],
        "b": [0, 1, 2, 3, 4],
    }
    first = aws.get_metric_data(
        MetricDataQueries=[{"Id": "a", **queries["a"]}],
        StartTime=window[0],
        EndTime=window[1],
        MaxDatapoints=3,
    )
    (result,) = first["MetricDataResults"]
    assert (result["StatusCode"], result["Values"]) == ("PartialData", [4, 3, 2])


def test_arithmetic_is_done_where_both_have_values(aws, past):
    put(aws, "Bad", {"Timestamp": past, "Value": 1}, {"Timestamp": past + MINUTE, "Value": 0})
    put(aws, "All", {"Timestamp": past, "Value": 4}, {"Timestamp": past + MINUTE, "Value": 0})
    queries = {
        "bad": query("Bad", "Sum", ReturnData=False),
        "n": query("All", "Sum", ReturnData=False),
        "share": {"Expression": "100 * (bad / n)", "Label": "share"},
        "rest": {"Expression": "100 - share"},
        "huge": {"Expression": "1e308 * 10 * n"},
        "never": {"Expression": "n / (1 - 1) + 1 / 0"},
    }
    told = {"share": [25], "rest": [75], "huge": [], "never": []}
    assert values(aws, queries, past, past + 5 * MINUTE) == told


def test_the_older_operation_tells_the_same(aws, past):
    put(aws, "Older", {"Timestamp": past, "Values": [1.0, 2.0, 4.0], "Unit": "Seconds"})
    window = {"StartTime": past, "EndTime": past + MINUTE, "Period": 60}
    metric = {"Namespace": "Mine", "MetricName": "Older"}
    found = aws.get_metric_statistics(
        **metric, **window, Statistics=["Sum", "Average"], ExtendedStatistics=["p50", "p100"]
    )
    assert found["Datapoints"] == [
        {
            "Timestamp": past,
            "Unit": "Seconds",
            "Sum": 7.0,
            "Average": pytest.approx(7 / 3),
            "ExtendedStatistics": {"p50": 2.0, "p100": 4.0},
        }
    ]
    assert not aws.get_metric_statistics(**metric, **window, Statistics=["Sum"], Unit="Count")[
        "Datapoints"
    ]


def test_values_in_different_units_stay_apart(aws, past):
    put(
        aws,
        "Took",
        {"Timestamp": past, "Value": 50.0, "Unit": "Milliseconds"},
        {"Timestamp": past, "Value": 0.07, "Unit": "Seconds"},
        {"Timestamp": past + MINUTE, "Value": 0.09, "Unit": "Seconds"},
    )
    window = {"StartTime": past, "EndTime": past + 2 * MINUTE, "Period": 60}

    def statistics(**more):
        asked = {"Namespace": "Mine", "MetricName": "Took", "Statistics": ["Sum"], **window, **more}
        points = aws.get_metric_statistics(**asked)["Datapoints"]
        return sorted((point["Unit"], point["Sum"]) for point in points)

    every = [("Milliseconds", 50.0), ("Seconds", 0.07), ("Seconds", 0.09)]
    assert statistics() == every
    assert statistics(Unit="Seconds") == every[1:]
    assert statistics(Unit="Count") == []
    by_unit = {}
    for unit in ("Milliseconds", "Seconds", "Count"):
        by_unit[unit.lower()] = query("Took", "Sum")
        by_unit[unit.lower()]["MetricStat"]["Unit"] = unit
    more = {"all": query("Took", "Sum"), "twice": {"Expression": "2 * all"}}
    found = values(aws, by_unit | more, past, past + 2 * MINUTE)
    assert found == {
        "milliseconds": [50.0],
        "seconds": [0.07, 0.09],
        "count": [],
        "all": [50.0, 0.07, 0.09],
        "twice": [0.14, 0.18],  # in the unit of the newest
    }
    assert len(aws.list_metrics(Namespace="Mine", MetricName="Took")["Metrics"]) == 1


def test_large_requests_come_packed(aws, past):
    data = [{"Timestamp": past, "Value": 1.0, "Unit": "Count"}] * 1000  # boto3 packs from 10 KB on
    put(aws, "Many", *data)
    assert values(aws, {"m": query("Many", "Sum")}, past, past + MINUTE) == {"m": [1000]}


def test_metrics_are_listed_by_what_they_have(aws):
    dimensions = [{"Name": "Host", "Value": "a"}, {"Name": "Disk", "Value": "1"}]
    put(aws, "Used", {"Value": 1.0, "Dimensions": dimensions}, space="Listed")
    put(aws, "Used", {"Value": 1.0}, space="Listed")
    put(aws, "Other", {"Value": 1.0}, space="Listed")

    def listed(**wanted):
        found = aws.list_metrics(Namespace="Listed", **wanted)["Metrics"]
        return [(each["MetricName"], len(each["Dimensions"])) for each in found]

    assert listed() == [("Other", 0), ("Used", 0), ("Used", 2)]
    assert listed(MetricName="Used", RecentlyActive="PT3H") == [("Used", 0), ("Used", 2)]
    assert listed(Dimensions=[{"Name": "Host"}]) == [("Used", 2)]
    assert listed(Dimensions=[{"Name": "Host", "Value": "b"}]) == []


@pytest.mark.parametrize(
    ("datum", "named"),
    [
        ({}, ["Value", "Values", "StatisticValues"]),
        ({"Value": 1.0, "Values": [1.0]}, ["MetricData.member.1.Values", "mutually exclusive"]),
        ({"Values": [1.0, 2.0], "Counts": [1.0]}, ["MetricData.member.1.Counts", "same size"]),
        ({"Value": 1.0, "Timestamp": datetime(2020, 1, 1, tzinfo=UTC)}, ["Wrong", "15 days"]),
        ({"Value": 1.0, "Unit": "Parsecs"}, ["enum value set"]),
        # a failed call has no latency: findings/powertools-lines-that-are-no-json.sh
        ({"Value": math.nan}, ["metricData.1.member.value"]),
        ({"Values": [1.0, math.inf]}, ["metricData.1.member.values.2.member"]),
        (
            {"StatisticValues": {"SampleCount": 0, "Sum": 0, "Minimum": 0, "Maximum": 0}},
            ["Wrong", "SampleCount", 0],
        ),
    ],
)
def test_data_that_cannot_be_are_refused(aws, datum, named):
    error = refusal(
        aws.put_metric_data, Namespace="Mine", MetricData=[{"MetricName": "Wrong", **datum}]
    )
    assert not unnamed(error["Message"], *named)


@pytest.mark.parametrize(
    ("asked", "code", "named"),
    [
        (query("M", "Most"), "ValidationError", ["Most", "Average"]),
        (query("M", "tm90"), "NotImplemented", ["tm90"]),
        (query("M", "Sum", 45), "ValidationError", ["Period", 45]),
        ({"Expression": "FILL(m, 0)"}, "NotImplemented", ["Metric math"]),
        ({"Expression": "other * m"}, "ValidationError", ['"other"']),
        ({"Expression": "m"}, "ValidationError", ['"m"', "itself"]),
        ({"Expression": "1 +"}, "ValidationError", ["'1 +'"]),
        ({"Expression": f"1{'0' * 400}"}, "ValidationError", [f"'1{'0' * 400}'"]),
        ({"Expression": "2"}, "ValidationError", ["'2'", "time series"]),
        ({}, "ValidationError", ['"m"', "MetricStat", "Expression"]),
    ],
)
def test_questions_that_cannot_be_are_refused(aws, past, asked, code, named):
    error = refusal(
        aws.get_metric_data,
        MetricDataQueries=[{"Id": "m", **asked}],
        StartTime=past,
        EndTime=past + MINUTE,
    )
    assert error["Code"] == code
    assert not unnamed(error["Message"], *named)


def test_a_window_that_ends_before_it_begins_is_refused(aws, past):
    error = refusal(
        aws.get_metric_data,
        MetricDataQueries=[{"Id": "m", **query("M", "Sum")}],
        StartTime=past,
        EndTime=past,
    )
    assert error["Code"] == "ValidationError"
    assert "StartTime must not equal" in error["Message"]


def test_what_is_not_offered_is_said(aws):
    error = refusal(aws.put_composite_alarm, AlarmName="a", AlarmRule="ALARM(b)")
    assert error["Code"] == "NotImplemented"
    assert "PutCompositeAlarm is not yet offered" in error["Message"]


def test_a_body_that_is_no_gzip_is_refused(cloud):
    headers = {
        "x-amz-target": "GraniteServiceVersion20100801.ListMetrics",
        "content-encoding": "gzip",
    }
    status, _, answer = wire.ask(cloud, "POST", "/", b"no gzip", headers, service="monitoring")
    assert (status, json.loads(answer)["__type"]) == (400, "SerializationException")


def test_an_alarm_goes_off_and_tells_a_topic(cloud, aws):
    with closing(cloud.client("sns")) as sns, closing(cloud.client("sqs")) as sqs:
        queue = sqs.create_queue(QueueName="alarms")["QueueUrl"]
        names = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        topic = sns.create_topic(Name="alarms")["TopicArn"]
        arn = names["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        put(aws, "Heat", {"Timestamp": datetime.now(UTC) - MINUTE, "Value": 9.0})
        aws.put_metric_alarm(
            AlarmName="hot",
            Namespace="Mine",
            MetricName="Heat",
            Statistic="Maximum",
            Period=60,
            EvaluationPeriods=2,
            DatapointsToAlarm=1,
            Threshold=5.0,
            ComparisonOperator="GreaterThanThreshold",
            AlarmActions=[topic],
        )
        (message,) = until(
            lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5).get("Messages")
        )
    told = json.loads(json.loads(message["Body"])["Message"])
    assert (told["AlarmName"], told["NewStateValue"]) == ("hot", "ALARM")
    (alarm,) = aws.describe_alarms(AlarmNames=["hot"])["MetricAlarms"]
    assert (alarm["StateValue"], alarm["AlarmArn"]) == ("ALARM", told["AlarmArn"])
    (same,) = aws.describe_alarms_for_metric(Namespace="Mine", MetricName="Heat")["MetricAlarms"]
    assert same == alarm
    items = aws.describe_alarm_history(AlarmName="hot")["AlarmHistoryItems"]
    assert [each["HistoryItemType"] for each in items][-1] == "ConfigurationUpdate"
    aws.delete_alarms(AlarmNames=["hot"])
    assert aws.describe_alarms()["MetricAlarms"] == []


def test_alarms_come_in_pages(aws):
    for number in range(3):
        aws.put_metric_alarm(
            AlarmName=f"page-{number}",
            Namespace="Mine",
            MetricName="None",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="LessThanThreshold",
        )
    pages = aws.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix="page-", PaginationConfig={"PageSize": 2}
    )
    assert [[each["AlarmName"] for each in page["MetricAlarms"]] for page in pages] == [
        ["page-0", "page-1"],
        ["page-2"],
    ]


def test_a_missing_alarm_is_named_by_the_error_that_clients_know(aws):
    with refused(aws.exceptions.ResourceNotFound, "nobody"):
        aws.set_alarm_state(AlarmName="nobody", StateValue="OK", StateReason="")


def test_dashboards_are_given_back_as_they_came(aws):
    body = json.dumps({"widgets": [{"type": "text", "properties": {"markdown": "ä"}}]})
    assert (
        aws.put_dashboard(DashboardName="d", DashboardBody=body)["DashboardValidationMessages"]
        == []
    )
    found = aws.get_dashboard(DashboardName="d")
    assert found["DashboardBody"] == body
    assert found["DashboardArn"] == "arn:aws:cloudwatch::123456789012:dashboard/d"
    (entry,) = aws.list_dashboards(DashboardNamePrefix="d")["DashboardEntries"]
    assert entry["Size"] == len(body.encode())
    aws.delete_dashboards(DashboardNames=["d"])
    assert refusal(aws.get_dashboard, DashboardName="d")["Code"] == "ResourceNotFound"
    assert "widgets" in refusal(aws.put_dashboard, DashboardName="d", DashboardBody="{}")["Message"]
