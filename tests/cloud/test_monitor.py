"""What a cloud tells, read through boto3: from the local cloud, and as AWS words it."""

import datetime as dt
import json

import polars as pl
import pytest
from botocore.stub import ANY, Stubber
from hypothesis import given
from hypothesis import strategies as st

from tests.hosted import called, until
from tests.played import PlayedCloud
from tests.refused import refused
from workbench.cloud import monitor
from workbench.cloud.aws import Cloud
from workbench.errors import CloudError, InvalidInput, NotAvailable
from workbench.localcloud import LocalCloud
from workbench.plots import metric_series, plot_metrics
from workbench.run import SLO

NOON = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
BURN = monitor.BurnRate(slo=SLO(latency=0.1, quantile=0.95), rate=2)


@pytest.fixture
def played(monkeypatch):
    """AWS as a list of answers: `played(service, operation, parameters, answer)`."""
    stubs = {}

    def play(service, operation, expected, answer):
        if service not in stubs:
            client = boto3_client(Cloud(keys=("key", "secret")), service)
            stubs[service] = (client, Stubber(client))
            stubs[service][1].activate()
        stubs[service][1].add_response(operation, answer, expected)

    boto3_client = Cloud.client
    monkeypatch.setattr(Cloud, "client", lambda _, service, **__: stubs[service][0])
    yield play
    for _, stub in stubs.values():
        stub.assert_no_pending_responses()


@pytest.fixture(scope="module")
def local():
    with LocalCloud() as cloud:
        yield cloud


# --- metrics


def series(number, *points):
    times = [NOON + dt.timedelta(minutes=minute) for minute, _ in points]
    return {"Id": f"q{number}", "Timestamps": times, "Values": [value for _, value in points]}


def test_metrics_come_in_seconds_and_in_order(played):
    found = [series(0, (0, 3.0), (1, 4.0)), series(5, (0, 250_000.0))]
    played("cloudwatch", "get_metric_data", None, {"MetricDataResults": found})

    frame = monitor.metrics("digits", Cloud(), clock=lambda: NOON)

    assert frame.rows() == [
        (NOON, "Invocations", "Sum", 3.0),
        (NOON, "ModelLatency", "p50", 0.25),
        (NOON + dt.timedelta(minutes=1), "Invocations", "Sum", 4.0),
    ]


def test_counts_of_a_latency_stay_counts(played):
    place = list(monitor._METRICS).index("ModelSetupTime")
    number = sum(len(each) for each in list(monitor._METRICS.values())[:place])
    played("cloudwatch", "get_metric_data", None, {"MetricDataResults": [series(number, (0, 7.0))]})

    assert monitor.metrics("digits", Cloud(), clock=lambda: NOON)["value"].to_list() == [7.0]


def test_a_sum_of_latencies_is_in_seconds_too(played):
    found = {"MetricDataResults": [series(0, (0, 250_000.0))]}
    played("cloudwatch", "get_metric_data", None, found)

    only = {"ModelLatency": ("Sum",)}
    frame = monitor.metrics("digits", Cloud(), only=only, clock=lambda: NOON)
    assert frame["value"].to_list() == [0.25]


def test_no_metric_is_left_out_without_a_word(played):
    window = {"StartTime": ANY, "EndTime": ANY, "ScanBy": ANY}
    asked = {"MetricDataQueries": [ANY] * 501, **window}  # more than AWS takes, which says so
    played("cloudwatch", "get_metric_data", asked, {"MetricDataResults": []})

    monitor.metrics("digits", Cloud(), only={"Invocations": ["Sum"] * 501}, clock=lambda: NOON)


def test_an_endpoint_without_metrics_has_an_empty_frame(played):
    played("cloudwatch", "get_metric_data", None, {"MetricDataResults": []})
    frame = monitor.metrics("digits", Cloud(), clock=lambda: NOON)

    assert frame.height == 0
    assert frame.columns == ["time", "metric", "statistic", "value"]
    with refused(InvalidInput, "workbench.cloud.monitor.metrics"):
        plot_metrics(frame)


def test_the_trails_limit_is_named_as_it_is_given():
    with refused(InvalidInput, "limit", 0):
        monitor.trail(Cloud(), limit=0)


@pytest.mark.parametrize("period", [0, 59, 61, 1.5])
def test_a_period_is_of_whole_minutes(period):
    with refused(InvalidInput, "period", period):
        monitor.metrics("digits", Cloud(), period=period)


def test_a_dashboard_has_a_panel_a_kind_of_figure():
    rows = [
        (NOON, "Invocations", "Sum", 60.0),
        (NOON, "ModelLatency", "p50", 0.02),
        (NOON, "ModelLatency", "Average", 0.03),
        (NOON, "ModelSetupTime", "p95", 0.5),
    ]
    frame = pl.DataFrame(rows, schema=["time", "metric", "statistic", "value"], orient="row")

    assert metric_series(frame).select("panel", "run", "value").rows() == [
        ("Calls a period", "Invocations", 60.0),
        ("Model latency (ms)", "p50", 20.0),
        ("Cold start (ms)", "p95", 500.0),
    ]
    assert "60 calls" in plot_metrics(frame).description
    assert "<svg" in plot_metrics(frame).svg()


# --- logs and trail


def test_logs_are_the_last_lines_that_contain_a_text(played):
    lines = [
        {"timestamp": 1000 * second, "logStreamName": "all/1", "message": f"line {second}\n"}
        for second in (3, 1, 2)
    ]
    played(
        "logs",
        "filter_log_events",
        {"logGroupName": "/aws/sagemaker/Endpoints/digits", "filterPattern": '"a b"'},
        {"events": lines},
    )
    frame = monitor.logs("digits", Cloud(), search="a b", tail=2)

    assert frame["message"].to_list() == ["line 2", "line 3"]
    assert frame["stream"].to_list() == ["all/1"] * 2


def test_patterns_of_cloudwatch_are_passed_on(played):
    expected = {"logGroupName": ANY, "filterPattern": '{ $.level = "x" }'}
    played("logs", "filter_log_events", expected, {"events": []})

    assert monitor.logs("digits", Cloud(), search='{ $.level = "x" }').height == 0


def test_the_trail_names_what_was_refused(played):
    event = {
        "EventTime": NOON,
        "EventName": "CreateEndpoint",
        "EventSource": "sagemaker.amazonaws.com",
        "Username": "me",
        "Resources": [{"ResourceName": "digits"}],
        "CloudTrailEvent": json.dumps({"errorCode": "ValidationException"}),
    }
    expected = {
        "StartTime": NOON - dt.timedelta(days=1),
        "EndTime": NOON,
        "LookupAttributes": [{"AttributeKey": "ResourceName", "AttributeValue": "digits"}],
    }
    played("cloudtrail", "lookup_events", expected, {"Events": [event]})

    (row,) = monitor.trail(Cloud(), name="digits", clock=lambda: NOON).iter_rows(named=True)
    assert row == {
        "time": NOON,
        "event": "CreateEndpoint",
        "service": "sagemaker.amazonaws.com",
        "user": "me",
        "error": "ValidationException",
        "resources": ["digits"],
    }


# --- alarms and dashboards


@given(st.sampled_from([0.5, 0.9, 0.95, 0.99]), st.floats(0.5, 1.9))
def test_errors_come_at_that_rate_when_the_percentile_is_at_the_target(quantile, rate):
    burn = monitor.BurnRate(slo=SLO(latency=1.0, quantile=quantile), rate=rate)
    slower = 1 - float(burn.statistic[1:]) / 100
    assert slower / (1 - quantile) == pytest.approx(rate, abs=1e-4 / (1 - quantile))


def test_a_rate_that_cannot_be_reached_is_refused():
    with refused(InvalidInput, "rate", 20):
        monitor.BurnRate(slo=SLO(latency=0.1, quantile=0.95), rate=20)


def test_a_missing_alarm_is_an_error(played):
    played("cloudwatch", "describe_alarms", {"AlarmNames": ["x"]}, {"MetricAlarms": []})
    with refused(CloudError, "x"):
        monitor.alarm_state("x", Cloud())


# --- events


def test_a_drift_that_is_reported_starts_a_function(local):
    started = []
    with monitor.EventSubscription(local, source=monitor.SOURCE, kinds=(monitor.DRIFT,)) as events:
        monitor.report_drift(local, model="digits:1", what="inputs", detail={"index": 0.4})
        count = monitor.on_drift(events, started.append, wait=20)

    assert count == 1
    assert started == [{"index": 0.4, "model": "digits:1", "what": "inputs"}]


def test_events_are_read_once_and_the_rule_goes_with_the_block(local):
    with monitor.EventSubscription(local, source=monitor.SOURCE) as events:
        monitor.report_drift(local, model="digits:1", what="latency", detail={})
        first, second = events.read(wait=20), events.read()
        rule = events._rule

    assert first["kind"].to_list() == [monitor.DRIFT]
    assert json.loads(first["detail"][0]) == {"model": "digits:1", "what": "latency"}
    assert second.height == 0
    client = local.client("events")
    assert rule not in [each["Name"] for each in client.list_rules()["Rules"]]
    client.close()


def test_what_could_not_be_ended_is_told_in_our_words():
    cloud = PlayedCloud()
    cloud.answer("sqs", "create_queue", {"QueueUrl": "queue"})
    cloud.answer("events", "put_rule", {"RuleArn": "arn:rule"})
    cloud.answer("sqs", "get_queue_attributes", {"Attributes": {"QueueArn": "arn:queue"}})
    cloud.answer("sqs", "set_queue_attributes")
    cloud.answer("events", "put_targets", {"FailedEntryCount": 0, "FailedEntries": []})
    cloud.refuse("events", "remove_targets", "AccessDenied")
    cloud.answer("events", "delete_rule")
    cloud.answer("sqs", "delete_queue")

    with (
        refused(NotAvailable, "AccessDenied", "events"),
        monitor.EventSubscription(cloud),
    ):
        pass
    cloud.done()


def test_an_event_whose_function_fails_is_not_lost(local):
    with monitor.EventSubscription(local, source=monitor.SOURCE) as events:
        monitor.report_drift(local, model="digits:1", what="latency", detail={})
        with pytest.raises(ZeroDivisionError):
            monitor.on_drift(events, lambda _: 1 / 0, wait=20)
        hidden = events._sqs.get_queue_attributes(
            QueueUrl=events._queue, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
        )
    assert hidden["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "1"


def test_an_event_that_is_refused_is_an_error(played):
    answer = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "No", "ErrorMessage": "no"}]}
    played("events", "put_events", None, answer)
    with refused(CloudError, "event", "no"):
        monitor.report_drift(Cloud(), model="digits:1", what="inputs", detail={})


# --- an endpoint that was really called


@pytest.fixture(scope="module")
def hosted():
    with called(times=25) as hosted:
        yield hosted


def soon():
    return dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)


def test_the_calls_of_an_endpoint_are_all_counted_and_timed(hosted):
    frame = monitor.metrics(hosted.name, hosted.cloud, clock=soon)
    found = {
        (metric, statistic): rows["value"].to_list()
        for (metric, statistic), rows in frame.group_by("metric", "statistic")
    }
    assert sum(found["Invocations", "Sum"]) == 25
    assert 0 < found["ModelLatency", "p50"][0] <= found["ModelLatency", "p99"][0] < 60
    assert plot_metrics(frame).description.startswith("25 calls")


def test_the_lines_of_an_endpoints_containers_are_found(hosted):
    lines = until(lambda: monitor.logs(hosted.name, hosted.cloud).rows(named=True))
    assert lines[0]["stream"].startswith(f"{monitor.VARIANT}/")
    said = lines[-1]["message"]
    assert said in monitor.logs(hosted.name, hosted.cloud, search=said)["message"].to_list()
    assert monitor.logs(hosted.name, hosted.cloud, search="nobody wrote this").height == 0


def test_who_made_an_endpoint_is_on_the_trail(hosted):
    frame = monitor.trail(hosted.cloud, name=hosted.name, clock=soon)

    assert frame["event"][-1] == "CreateEndpoint"
    assert set(frame["service"]) == {"sagemaker.amazonaws.com"}


def test_an_endpoint_that_ends_is_an_event(hosted):
    other = hosted.endpoint()
    with monitor.EventSubscription(hosted.cloud) as events:
        hosted.sagemaker.delete_endpoint(EndpointName=other)
        (event, *_) = events.read(wait=20).iter_rows(named=True)

    assert event["kind"] == "SageMaker Endpoint State Change"
    assert json.loads(event["detail"])["EndpointName"] == other


def test_an_alarm_has_a_state_until_it_is_deleted(hosted):
    name = monitor.put_alarm(hosted.name, hosted.cloud, BURN)

    assert monitor.alarm_state(name, hosted.cloud) in ("OK", "ALARM", "INSUFFICIENT_DATA")
    monitor.delete_alarm(name, hosted.cloud)
    monitor.delete_alarm(name, hosted.cloud)
    with refused(CloudError, name):
        monitor.alarm_state(name, hosted.cloud)


def test_a_dashboard_of_an_endpoint_is_kept(hosted):
    name = monitor.put_dashboard(hosted.name, hosted.cloud)
    client = hosted.cloud.client("cloudwatch")
    body = client.get_dashboard(DashboardName=name)["DashboardBody"]

    assert body == monitor.dashboard_body(hosted.name, region=hosted.cloud.region)
    monitor.delete_dashboard(name, hosted.cloud)
    monitor.delete_dashboard(name, hosted.cloud)
    assert client.list_dashboards()["DashboardEntries"] == []
    client.close()
