"""Runs that the app starts on clouds: what they cost is agreed to, and they leave nothing."""

import re
import threading
from dataclasses import replace

import nbformat
import pytest

import workbench as wb
from tests.children import run_notebook
from tests.refused import refused, unnamed
from workbench.cloud.client import CloudClient
from workbench.cloud.deploy import deploy
from workbench.cloud.ledger import Ledger
from workbench.errors import InvalidInput, Stopped
from workbench.localcloud import LocalCloud
from workbench.widgets import App, RunPanel
from workbench.widgets.target_picker import OnAWS, OnLocalCloud, TargetPicker, ThisMachine

pytestmark = pytest.mark.usefixtures("at_home")


@pytest.fixture(scope="module")
def paid(tmp_path_factory):
    """A local cloud that stands for AWS: its endpoint is all that boto3 sees."""
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture
def aws(paid, monkeypatch):
    """What `wb.aws()` finds in the environment."""
    told = {
        **paid.environment(),
        "WORKBENCH_ROLE_ARN": paid.role,
        "WORKBENCH_IMAGE": paid.image,
        "WORKBENCH_BUCKET": "workbench",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return paid


@pytest.fixture
def app(registry):
    app = App(registry, "wb.Registry()")
    app.model.group.label = "digits-mlp-small"
    app.deployment.kind.value = "serverless"
    app.traffic.set("poisson", rate=40, duration=1)
    return app


def on_aws(app):
    app.target["where"].label = "AWS"
    app.panel.start()


def left(cloud):
    """What is there of a deployment."""
    with CloudClient(cloud) as calls:
        made = calls.sagemaker("list_endpoints")["Endpoints"]
        return [*made, *calls.sagemaker("list_models")["Models"], *Ledger().entries()]


def test_what_does_not_suit_the_inference_type_is_not_offered():
    picker = TargetPicker()
    assert picker.value == ThisMachine()

    picker.cloud = True

    assert picker.value == OnLocalCloud()
    picker["where"].label = "AWS"
    assert picker.value == OnAWS(budget=1.0)

    picker.cloud = False

    assert picker.value == ThisMachine()


def test_a_type_that_needs_a_cloud_runs_on_the_local_one_which_the_monitor_reads(app):
    monitor = app.more["Monitor"]
    monitor["endpoint"].observe(lambda _: (monitor.refresh(), monitor.wait()), "value")
    app.panel.start()
    app.panel.wait()

    assert monitor.error == ""
    assert monitor.value.endpoint == monitor["endpoint"].value
    assert f"<p>{monitor.value.label}.</p>" in app.kept
    assert app.panel.error == ""
    (run,) = app.runs
    assert run.origin == "measured: local cloud"
    assert (len(run), run.complete) == (len(app.traffic.value), True)
    assert Ledger().entries() == []


def test_after_a_run_the_monitor_shows_what_the_local_cloud_knew_at_its_end(app):
    app.panel.start()
    run = app.panel.wait()

    monitor = app.more["Monitor"]
    calls = monitor.value.metrics.filter(metric="Invocations", statistic="Sum")["value"].sum()
    assert calls == run.frame.filter(run.frame["error"].is_null())["batch"].n_unique() > 0
    assert "The endpoint is gone" in monitor.status.text
    seen = monitor.value
    monitor.refresh()
    assert monitor.wait() is seen  # the local cloud is gone now
    assert "local cloud" in monitor.error


def test_the_monitor_asks_the_target_where_no_run_was(app, aws, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    app.target["where"].label = "AWS"
    app.target["region"].value = "eu-west-1"

    assert app._cloud().region == "eu-west-1"
    app.target["where"].label = "Local cloud"
    assert app._cloud().region == "us-east-1"


def test_the_code_of_a_run_on_the_local_cloud_sends_the_same(app, jupyter_env, monkeypatch):
    for name, value in jupyter_env.items():
        monkeypatch.setenv(name, value)
    assert app.code.endswith("with wb.LocalCloud() as cloud:\n    run = experiment.run(cloud)")
    told = "facts = run.facts\nprint(run.origin, facts['trace'], facts['deployment'], len(run))"
    cells = [nbformat.v4.new_code_cell(each) for each in (app.code, told)]
    notebook = nbformat.v4.new_notebook(cells=cells)

    run_notebook(notebook)

    facts = app.experiment.facts()
    (output,) = notebook.cells[1].outputs
    sent = f"{facts['trace']} {facts['deployment']} {len(app.traffic.value)}"
    assert output.text == f"measured: local cloud {sent}\n"


def test_aws_begins_nothing_before_the_estimate_is_confirmed(app, aws):
    on_aws(app)

    assert re.search(r"costs at most \$0\.0\d+ .* Confirm to go on", app.panel.status.text)
    assert app.panel.confirm_button.layout.display is None
    assert (app.panel.running, left(aws)) == (False, [])

    app.panel.stop()
    app.panel.confirm()

    assert app.panel.status.text.startswith("Not confirmed: nothing was made")
    assert (app.panel.running, left(aws)) == (False, [])

    app.panel.start()
    app.panel.confirm_button.click()
    app.panel.wait()

    assert app.panel.error == ""
    assert app.runs[0].record.cloud["paid"]
    assert app.panel.confirm_button.layout.display == "none"
    assert left(aws) == []
    assert app.code.endswith("run = experiment.run(wb.aws(), budget=1.0, yes=True)")


def test_another_setting_has_to_be_confirmed_anew(app, aws):
    on_aws(app)

    app.deployment["memory_mb"].value = 4096
    app.panel.confirm()

    assert not app.panel.running
    assert app.panel.confirm_button.layout.display == "none"


def test_what_can_cost_more_than_the_budget_is_not_offered(app, aws):
    on_aws(app)
    app.target["budget"].value = 0.00001

    assert app.panel.buttons["run"].disabled
    assert not unnamed(app.panel.status.text, "budget", "$0.00001")
    assert not app.panel.buttons["simulate"].disabled

    app.target["budget"].value = -1.0

    assert not unnamed(app.panel.status.text, "Budget", -1.0)


def test_what_aws_needs_is_said_before_anything_is_pressed(app, aws, monkeypatch):
    monkeypatch.delenv("WORKBENCH_ROLE_ARN")
    app.target["where"].label = "AWS"

    assert app.panel.buttons["run"].disabled
    assert not unnamed(app.panel.status.text, "$WORKBENCH_ROLE_ARN")


def test_a_deployment_that_is_under_way_is_stopped_and_torn_down(model, paid, monkeypatch):
    stopped = threading.Event()
    fleet = wb.RealTime(instance_type="ml.m5.large", count=1)
    experiment = wb.Experiment(model, fleet, wb.constant(rate=10, duration=1))
    seen = []
    call = CloudClient.sagemaker

    def stopping(calls, operation, **parameters):
        answer = call(calls, operation, **parameters)
        if operation == "create_model":
            stopped.set()
            seen.extend(left(paid))
        return answer

    monkeypatch.setattr(CloudClient, "sagemaker", stopping)

    with pytest.raises(Stopped):
        experiment.run(paid, stopped=stopped)

    assert seen
    assert left(paid) == []


def test_stop_ends_a_wait_for_an_endpoint_at_once(model, paid, monkeypatch):
    stopped = threading.Event()
    slow = replace(paid.value(), poll=3600.0)
    status = CloudClient.sagemaker

    def creating(calls, operation, **parameters):
        answer = status(calls, operation, **parameters)
        if operation == "describe_endpoint" and not stopped.is_set():
            threading.Timer(0.1, stopped.set).start()
            return {**answer, "EndpointStatus": "Creating"}
        return answer

    monkeypatch.setattr(CloudClient, "sagemaker", creating)
    fleet = wb.RealTime(instance_type="ml.m5.large", count=1)

    with (
        pytest.raises(Stopped),
        deploy(model, fleet, slow, stopped=stopped),
    ):
        pytest.fail("the block must not be entered")

    assert left(paid) == []


def test_a_panel_says_what_stopping_takes(app):
    told = []
    app.panel.status.observe(lambda change: told.append(change["new"]), "text")
    app.traffic.set("poisson", rate=40, duration=250)
    app.more["Monitor"]["endpoint"].observe(lambda _: app.panel.stop(), "value")
    app.panel.start()
    app.panel.wait()

    assert "Stopping: what was answered is kept, and all that was made is torn down." in told
    assert Ledger().entries() == []


def test_terms_hold_back_their_own_way_alone():
    done = threading.Event()
    panel = RunPanel()
    panel.offer(
        {"run": lambda _: done.set(), "simulate": lambda _: None}, terms={"run": "It costs."}
    )

    panel.start("simulate")
    panel.wait()
    assert panel.way == "simulate"
    panel.start("run")

    assert panel.status.text.startswith("It costs. Confirm")
    assert not done.is_set()


def test_a_local_deployment_has_no_estimate(model):
    experiment = wb.Experiment(model, wb.Local(), wb.constant(rate=10, duration=1))

    with refused(InvalidInput, experiment.deployment.label):
        experiment.estimate()
