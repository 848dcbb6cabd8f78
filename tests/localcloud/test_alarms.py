"""When an alarm changes its state, told the time; and what is then done."""

import asyncio
import json
from contextlib import closing
from functools import partial

import pytest

from tests.refused import refused
from workbench.localcloud.cloudwatch.alarms import Alarms, build_message
from workbench.localcloud.cloudwatch.api import CloudWatch
from workbench.localcloud.cloudwatch.metrics import Metrics, metric_key
from workbench.localcloud.core.protocol import AwsError
from workbench.localcloud.core.store import Store, StoreTable
from workbench.localcloud.core.tags import Tags

NOON = 1_800_000_000
WATCHED = {"Namespace": "Mine", "MetricName": "Load"}
LOAD = metric_key("Mine", "Load", {})
TOPIC = "arn:aws:sns:us-east-1:123456789012:told"
POLICY = "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:1"


class Watch:
    """Alarms with a clock that is set by hand."""

    def __init__(self, store):
        self.at = float(NOON)
        self.fired = []
        self.changes = []
        self.metrics = Metrics(store)
        self.alarms = Alarms(store, self.metrics, on_change=self._note, clock=lambda: self.at)
        self.alarms.on_action("arn:aws:sns:", self.fired.append)
        self.alarms.on_action("arn:aws:autoscaling:", self.fired.append)

    def _note(self, alarm, former):
        self.changes.append((former, alarm["StateValue"]))

    def alarm(self, **given):
        alarm = WATCHED | {
            "AlarmName": "hot",
            "Statistic": "Average",
            "Period": 60,
            "EvaluationPeriods": 3,
            "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "AlarmActions": [TOPIC],
        }
        whole = alarm | given
        self.alarms.put({name: value for name, value in whole.items() if value is not None})

    def put(self, value, minute):
        """Put a value so many minutes before noon."""
        at = NOON - 60 * minute
        self.metrics.put(LOAD, value, at=at, unit="None")

    def seen(self, points):
        """Put the minutes before noon, the last one last: X breaches, 0 does not, - is missing."""
        for minute, point in enumerate(reversed(points.split()), start=1):
            if point != "-":
                self.put(2.0 if point == "X" else 0.0, minute)

    def state(self):
        self.alarms.evaluate()
        return self.alarms.all()[0]["StateValue"]

    def call(self, operation, **params):
        return asyncio.run(self.alarms.operations()[operation](params))


@pytest.fixture(name="watch")
def _watch(tmp_path):
    with closing(Store(tmp_path)) as store:
        yield Watch(store)


# The table of the CloudWatch user guide, "Configuring how CloudWatch alarms treat missing data":
# three of three periods, of which five are looked at.
@pytest.mark.parametrize(
    ("points", "states"),
    [
        ("0 - X - X", ["OK", "OK", "OK", "OK"]),
        ("0 - - - -", ["OK", "OK", "OK", "OK"]),
        ("- - - - -", ["INSUFFICIENT_DATA", "ALARM", "ALARM", "OK"]),
        ("0 X X - X", ["ALARM", "ALARM", "ALARM", "ALARM"]),
        ("- - X - -", ["ALARM", "ALARM", "ALARM", "OK"]),
    ],
)
def test_missing_data_are_treated_as_asked(watch, points, states):
    watch.seen(points)
    found = []
    for treatment in ("missing", "ignore", "breaching", "notBreaching"):
        watch.alarm(TreatMissingData=treatment)
        watch.call("SetAlarmState", AlarmName="hot", StateValue="ALARM", StateReason="so far")
        found.append(watch.state())
    assert found == states


def test_so_many_of_so_many_periods_are_enough(watch):
    watch.seen("X 0 X")
    watch.alarm()
    assert watch.state() == "OK"
    watch.alarm(DatapointsToAlarm=2)
    assert watch.state() == "ALARM"


@pytest.mark.parametrize(
    ("unit", "state"), [("Seconds", "OK"), ("Milliseconds", "ALARM"), (None, "OK")]
)
def test_an_alarm_looks_at_one_unit(watch, unit, state):
    for minute, value, of in (
        (2, 50.0, "Milliseconds"),
        (2, 0.07, "Seconds"),
        (1, 0.07, "Seconds"),
    ):
        at = NOON - 60 * minute
        watch.metrics.put(LOAD, value, at=at, unit=of)
    watch.alarm(EvaluationPeriods=1, Unit=unit)
    assert watch.state() == state


def test_a_period_that_is_not_over_does_not_count(watch):
    watch.alarm(EvaluationPeriods=1)
    watch.put(2.0, 0)
    watch.at += 59
    assert watch.state() == "INSUFFICIENT_DATA"
    watch.at += 1
    assert watch.state() == "ALARM"


@pytest.mark.parametrize(
    ("comparison", "below", "at", "above"),
    [
        ("GreaterThanThreshold", "OK", "OK", "ALARM"),
        ("GreaterThanOrEqualToThreshold", "OK", "ALARM", "ALARM"),
        ("LessThanThreshold", "ALARM", "OK", "OK"),
        ("LessThanOrEqualToThreshold", "ALARM", "ALARM", "OK"),
    ],
)
def test_values_are_compared_with_the_threshold(watch, comparison, below, at, above):
    states = []
    for value in (0.0, 1.0, 2.0):
        watch.alarm(EvaluationPeriods=1, ComparisonOperator=comparison)
        watch.put(value, 1)
        states.append(watch.state())
        watch.at += 60
        watch.metrics.flush(now=watch.at + 1e9)  # forget
    assert states == [below, at, above]


def test_percentiles_are_watched_too(watch):
    for _ in range(99):
        watch.put(0.0, 1)
    watch.put(5.0, 1)
    for quantile, state in (("p99", "OK"), ("p99.5", "ALARM")):
        watch.alarm(Statistic=None, ExtendedStatistic=quantile, EvaluationPeriods=1)
        assert watch.state() == state


def test_arithmetic_is_watched_too(watch):
    watch.put(3.0, 1)
    metric = {"Metric": WATCHED, "Period": 60, "Stat": "Sum"}
    watch.alarms.put(
        {
            "AlarmName": "twice",
            "Metrics": [
                {"Id": "m", "MetricStat": metric, "ReturnData": False},
                {"Id": "e", "Expression": "m * 2"},
            ],
            "EvaluationPeriods": 1,
            "Threshold": 5.0,
            "ComparisonOperator": "GreaterThanThreshold",
        }
    )
    assert watch.state() == "ALARM"


def test_a_change_acts_once_and_scaling_each_minute(watch):
    watch.alarm(EvaluationPeriods=1, TreatMissingData="breaching", AlarmActions=[TOPIC, POLICY])
    for _ in range(4):
        watch.state()
        watch.at += 30
    assert [(each.action, each.at - NOON) for each in watch.fired] == [
        (TOPIC, 0),
        (POLICY, 0),
        (POLICY, 60),
    ]
    assert watch.changes == [("INSUFFICIENT_DATA", "ALARM")]


def test_actions_follow_the_state_and_can_be_turned_off(watch):
    watch.alarm(OKActions=[POLICY])
    watch.call("SetAlarmState", AlarmName="hot", StateValue="OK", StateReason="by hand")
    assert [each.action for each in watch.fired] == [POLICY]
    watch.call("DisableAlarmActions", AlarmNames=["hot"])
    watch.call("SetAlarmState", AlarmName="hot", StateValue="ALARM", StateReason="by hand")
    assert len(watch.fired) == 1


def test_a_topic_is_told_what_was_seen(watch):
    watch.seen("X X X")
    watch.alarm(AlarmDescription="too hot")
    watch.state()
    (fired,) = watch.fired
    told = json.loads(build_message(fired))
    assert fired.value == 2.0
    assert (told["OldStateValue"], told["NewStateValue"]) == ("INSUFFICIENT_DATA", "ALARM")
    assert told["AlarmDescription"] == "too hot"
    assert told["StateChangeTime"] == "2027-01-15T08:00:00.000+0000"
    assert told["Trigger"]["MetricName"] == "Load"
    assert "[2, 2, 2]" in told["NewStateReason"]


def test_an_action_that_fails_is_in_the_history(watch):
    def fail(_):
        raise RuntimeError

    watch.alarms.on_action("arn:aws:sns:", fail)
    watch.alarm(AlarmActions=[TOPIC, "arn:aws:ssm:us-east-1:123456789012:opsitem:1"])
    watch.call("SetAlarmState", AlarmName="hot", StateValue="ALARM", StateReason="by hand")
    items = watch.call("DescribeAlarmHistory", AlarmName="hot", ScanBy="TimestampAscending")
    kinds = [each["HistoryItemType"] for each in items["AlarmHistoryItems"]]
    assert kinds == ["ConfigurationUpdate", "StateUpdate", "Action", "Action"]
    assert all(
        each["HistorySummary"].startswith("Failed") for each in items["AlarmHistoryItems"][2:]
    )


def test_alarms_and_their_states_survive_a_restart(watch):
    watch.alarm()
    watch.call("SetAlarmState", AlarmName="hot", StateValue="OK", StateReason="by hand")
    again = Alarms(watch.alarms._store, watch.metrics)
    assert again.all() == watch.alarms.all()
    watch.alarm(Threshold=7.0)
    (alarm,) = again.all()
    assert (alarm["Threshold"], alarm["StateValue"]) == (7.0, "OK")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, ["band"]),
        ({"Statistic": "Most"}, ["Most"]),
        ({"Period": 45}, ["Period", 45]),
        ({"DatapointsToAlarm": 4}, ["DatapointsToAlarm", "EvaluationPeriods"]),
        ({"TreatMissingData": "maybe"}, ["TreatMissingData"]),
        ({"ExtendedStatistic": "p9"}, ["Statistic", "ExtendedStatistic"]),
        ({"Metrics": []}, ["MetricName", "Metrics"]),
        ({"ThresholdMetricId": "e"}, ["ThresholdMetricId"]),
    ],
)
def test_alarms_that_cannot_be_are_refused(watch, given, named):
    with refused(AwsError, *named):
        watch.alarm(**given)
    assert watch.alarms.all() == []


def test_an_alarm_that_lacks_its_threshold_is_refused(watch):
    with refused(AwsError, "EvaluationPeriods", "Threshold"):
        watch.alarms.put({"AlarmName": "a", "ComparisonOperator": "LessThanThreshold"})


def test_deleted_alarms_are_gone(watch):
    watch.alarm()
    delete = partial(watch.call, "DeleteAlarms", AlarmNames=["hot"])
    delete()
    assert watch.alarms.all() == []
    delete()  # a name that is not there does not hinder (API reference, DeleteAlarms)


def test_tags_of_a_folder_in_which_cloudwatch_kept_its_own_are_taken_in(tmp_path):
    with closing(Store(tmp_path)) as store:
        watch = Watch(store)
        watch.alarm()
        watch.alarm(AlarmName="plain")
        arns = {alarm["AlarmName"]: alarm["AlarmArn"] for alarm in watch.alarms.all()}
        columns = "arn TEXT PRIMARY KEY, tags TEXT NOT NULL"
        StoreTable(store, "cloudwatch_tags", columns).put(arn=arns["hot"], tags='{"who": "me"}')
        with store.write() as db:
            db.execute("DELETE FROM tagged")

        for _ in range(2):  # a second start finds nothing more to do
            CloudWatch(store, watch.metrics, watch.alarms)
            assert Tags(store).of(arns["hot"]) == [{"Key": "who", "Value": "me"}]
        tag = Tags(store).operations()["AddTags"]
        asyncio.run(tag({"ResourceArn": arns["plain"], "Tags": [{"Key": "a", "Value": "b"}]}))
        assert Tags(store).of(arns["plain"]) == [{"Key": "a", "Value": "b"}]


def test_tags_of_an_alarm_are_those_it_was_made_with_and_more(tmp_path):
    with closing(Store(tmp_path)) as store:
        alarms = Alarms(store, Metrics(store))
        tags = Tags(store)
        names = ("TagResource", "ListTagsForResource", "UntagResource")
        operations = tags.operations(names, member="ResourceARN")
        call = lambda name, **params: asyncio.run(operations[name](params))  # noqa: E731
        given = {"Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0}
        given |= WATCHED | {"AlarmName": "a", "ComparisonOperator": "GreaterThanThreshold"}
        arn = alarms.put(given | {"Tags": [{"Key": "workbench", "Value": "1"}]})
        alarms.put(given | {"Tags": [{"Key": "later", "Value": "ignored"}]})
        call("TagResource", ResourceARN=arn, Tags=[{"Key": "who", "Value": "me"}])
        assert [each["Key"] for each in tags.of(arn)] == ["who", "workbench"]
        call("UntagResource", ResourceARN=arn, TagKeys=["who", "nothing"])
        assert call("ListTagsForResource", ResourceARN=arn)["Tags"] == [
            {"Key": "workbench", "Value": "1"}
        ]
        alarms.delete("a")
        assert tags.of(arn) == []
        with refused(AwsError, arn):
            call("TagResource", ResourceARN=arn, Tags=[])
