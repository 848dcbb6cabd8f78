"""When scheduled actions are due."""

from datetime import UTC, datetime

import pytest

from tests.refused import refused
from workbench.localcloud.autoscaling.schedules import is_due
from workbench.localcloud.core.protocol import AwsError

MINUTE = datetime(2026, 11, 26, 8, 30, tzinfo=UTC).timestamp()  # a Thursday


def due(expression, *, at=MINUTE, zone="UTC", begin=MINUTE - 600):
    return is_due(expression, zone=zone, begin=begin, before=at - 0.5, now=at + 0.5)


@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("at(2026-11-26T08:30:00)", "UTC"),
        ("at(2026-11-26T09:30:00)", "Europe/Berlin"),
        ("rate(1 minute)", "UTC"),
        ("rate(5 minutes)", "UTC"),
        ("cron(30 8 * * ? *)", "UTC"),
        ("cron(30 9 * * ? *)", "Europe/Berlin"),
        ("cron(0/15 8 ? NOV MON-FRI *)", "UTC"),
        ("cron(0,30 8-9 26 11 ? 2026)", "UTC"),
    ],
)
def test_an_action_is_due_once_at_its_time(expression, zone):
    assert due(expression, zone=zone)
    assert not due(expression, zone=zone, at=MINUTE + 1)


@pytest.mark.parametrize(
    "expression",
    ["at(2026-11-26T08:31:00)", "rate(3 minutes)", "cron(30 8 ? * SAT *)", "cron(31 8 * * ? *)"],
)
def test_it_is_not_due_at_other_times(expression):
    assert not due(expression)


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("at(tomorrow)", "'tomorrow'"),
        ("rate(0 minutes)", "'0 minutes'"),
        ("cron(30 8 * *)", "'30 8 * *'"),
        ("cron(61 8 * * ? *)", "0-59"),
        ("cron(0 8 L * ? *)", "'L'"),
        ("daily", "'daily'"),
    ],
)
def test_what_is_no_schedule_is_refused(expression, named):
    with refused(AwsError, named):
        due(expression)


def test_a_time_zone_that_is_not_there_is_refused():
    with refused(AwsError, "Timezone", "'Mars/Olympus'"):
        due("at(2026-11-26T08:30:00)", zone="Mars/Olympus")
