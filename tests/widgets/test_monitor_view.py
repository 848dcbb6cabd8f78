"""An endpoint's figures, alarms and log on a press, from a local cloud and its real workers."""

import numpy as np
import pytest

from tests.hosted import called, on_instances
from tests.refused import unnamed
from workbench.cloud import monitor
from workbench.cloud.aws import Cloud
from workbench.run import SLO, Run
from workbench.widgets import MonitorView, observe

BURN = monitor.BurnRate(slo=SLO(latency=0.1, quantile=0.95), rate=2)


@pytest.fixture(scope="module")
def hosted():
    with called(times=25) as hosted:
        yield hosted


def test_the_value_is_what_the_cloud_tells_of_the_endpoint(hosted):
    alarm = monitor.put_alarm(hosted.name, hosted.cloud, BURN)
    view = MonitorView(hosted.cloud, hosted.name)
    assert view.value is None

    view.refresh_button.click()
    seen = view.wait()

    assert (view.error, seen.endpoint) == ("", hosted.name)
    assert seen.metrics.filter(metric="Invocations", statistic="Sum")["value"].sum() == 25
    assert seen.alarms["name"].to_list() == [alarm]
    assert seen.alarms["about"][0].startswith(BURN.slo.label)
    assert seen.logs.height > 0
    assert view.status.text.startswith(f"{hosted.name}: 25 calls in the last hour, 0 of 1 alarms")
    assert view.chart.figure.description.startswith("25 calls.")
    assert alarm in view.tables.value
    assert seen.logs["stream"][-1] in view.tables.value

    hosted.invoke(hosted.name)
    view.refresh_button.click()

    assert view.wait() is not seen


def test_alarms_of_other_endpoints_are_left_out(hosted):
    other = monitor.put_alarm(f"{hosted.name}0", hosted.cloud, BURN)

    assert other not in monitor.alarms(hosted.name, hosted.cloud)["name"].to_list()
    assert monitor.alarms(f"{hosted.name}0", hosted.cloud)["name"].to_list() == [other]


def test_an_endpoint_that_is_not_there_is_said_and_what_was_shown_stays(hosted):
    view = MonitorView(hosted.cloud, hosted.name)
    view.refresh()
    seen = view.wait()

    view["endpoint"].value = "no-such-endpoint"
    view.refresh()

    assert view.wait() is seen
    assert "no-such-endpoint" in view.error
    assert view.status.text == view.error
    assert view.status.wrong


def test_of_an_endpoint_that_was_deleted_what_is_left_is_shown(hosted):
    name = hosted.endpoint(on_instances(monitor.VARIANT))
    hosted.invoke(name)
    hosted.sagemaker.delete_endpoint(EndpointName=name)
    hosted.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name)

    view = MonitorView(lambda: hosted.cloud, name)
    view.refresh()

    assert view.wait().label.startswith(f"{name}: 1 call in")
    assert "The endpoint is gone: this is what is left of it." in view.status.text


def test_a_cloud_that_does_not_answer_is_said():
    nowhere = Cloud(name="nowhere", endpoint_url="http://127.0.0.1:9", keys=("key", "secret"))
    view = MonitorView(nowhere, "digits")
    view.refresh()

    assert view.wait() is None
    assert "nowhere" in view.error


def test_no_name_is_refused_beside_the_control(hosted):
    view = MonitorView(hosted.cloud)
    view.refresh()

    assert not unnamed(view.error, "Endpoint", "name", "nothing")
    assert view.error in view.form._lines["endpoint"].value
    assert view.wait() is None


def test_an_endpoint_that_nobody_called_has_no_metrics_and_no_alarms_yet(hosted):
    name = hosted.endpoint(on_instances(monitor.VARIANT))
    view = MonitorView(hosted.cloud, name)
    view.refresh()
    view.wait()

    assert observe(name, hosted.cloud).label.startswith(f"{name}: 0 calls")
    assert "No alarms" in view.tables.value


def test_a_run_of_seconds_shows_its_seconds_beside_the_minutes_of_the_cloud(hosted):
    view = MonitorView(hosted.cloud, hosted.name)
    at = np.arange(400) / 100
    view.show_run(Run.from_arrays(scheduled=at, finished=at + 0.005, origin="measured: local"))

    drawn = view.seconds.figure.data
    assert drawn["stop"].to_list() == pytest.approx(
        [0.5 * number for number in range(1, 9)], rel=0.01
    )
