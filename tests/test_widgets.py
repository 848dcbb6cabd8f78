"""The controls without a browser: the values they hold, and what they do when told to."""

import base64
import re
import sys
import threading
from types import SimpleNamespace

import ipywidgets
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from workbench.batching import BatchPolicy
from workbench.deployment import KINDS, Local
from workbench.errors import InvalidInput, InvocationError, WorkbenchError
from workbench.registry import Registry
from workbench.run import SLO, Run
from workbench.traffic import bursty, constant, poisson
from workbench.widgets import (
    App,
    DeploymentPicker,
    Live,
    ModelPicker,
    PolicyPicker,
    Results,
    RunPanel,
    SLOPicker,
    TrafficPicker,
    app,
    frontend,
)


def made_run(count=400, latency=0.004, **facts):
    """A run that did not happen."""
    scheduled = np.arange(count) / 100
    facts = {"label": "mlp:1, local, no batching", "deployment": Local().to_dict()} | facts
    return Run.from_arrays(scheduled=scheduled, finished=scheduled + latency, facts=facts)


def doing(outcome):
    """Work that ends at once, with this run or this failure."""

    def work(_):
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return work


# ------------------------------------------------------------------------------------- pickers


def test_a_model_is_picked_in_its_newest_approved_version(registry):
    picker = ModelPicker(registry, "digits-forest")

    assert picker.value.name == registry["digits-forest"].name
    assert picker.status.text.startswith("digits-forest:1, ")
    assert "accuracy 0.9" in picker.status.text

    picker.group.label = "diabetes-ridge"

    assert picker.value.name == "diabetes-ridge:1"


def test_a_group_that_is_not_there_leaves_the_first(registry):
    assert ModelPicker(registry, "no-such-group").value.group == registry.groups()[0]


def test_a_registry_without_approved_models_says_the_way_out(registry, tmp_path):
    bare = Registry(tmp_path)
    bare.register("pending", registry["digits-logistic"].path)

    picker = ModelPicker(bare)

    assert picker.value is None
    assert picker.error.startswith(f"There is no approved model in {tmp_path}: register one")
    assert picker.status.text == picker.error
    assert picker.status.wrong

    bare.approve("pending", 1)

    assert re.fullmatch("pending:1, [0-9.]+ kB", ModelPicker(bare).status.text)


def test_a_local_deployment_has_three_knobs():
    picker = DeploymentPicker(Local(workers=2))
    picker.threads.value = 3
    picker.hourly_price.value = 0.5

    assert picker.value == Local(workers=2, threads=3, hourly_price=0.5)
    assert picker.status.text == "local, 2 workers x 3 threads"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "local"])
def test_the_other_inference_types_say_what_they_need(kind):
    picker = DeploymentPicker()
    picker.kind.value = kind

    assert picker.value.kind == kind
    assert picker.value.needs in picker.status.text
    assert picker.workers.layout.display == "none"


@pytest.mark.parametrize(
    ("kind", "trace", "hidden"),
    [
        ("bursty", bursty(rate=50, burst=3, duration=4, seed=7), []),
        ("poisson", poisson(rate=50, duration=4, seed=7), ["burst"]),
        ("constant", constant(rate=50, duration=4), ["burst", "seed"]),
    ],
)
def test_traffic_is_what_the_arrival_process_draws(kind, trace, hidden):
    picker = TrafficPicker(kind, rate=50, burst=3, duration=4, seed=7)

    assert picker.value == trace
    assert picker.value.name == trace.name
    assert picker.status.text.startswith(f"{len(trace)} requests in 4 s")
    knobs = ("rate", "burst", "duration", "seed")
    assert [knob for knob in knobs if getattr(picker, knob).layout.display == "none"] == hidden


def test_a_policy_waits_milliseconds_in_the_control_and_seconds_in_the_value():
    picker = PolicyPicker(BatchPolicy(max_size=8, max_wait=0.025))
    picker.max_wait.value = 40

    assert picker.value == BatchPolicy(max_size=8, max_wait=0.04)
    assert picker.status.text == "up to 8, 40 ms"


def test_a_target_of_any_percentile_can_be_begun_with():
    picker = SLOPicker(SLO(latency=0.1, quantile=0.98))
    picker.latency.value = 50

    assert picker.value == SLO(latency=0.05, quantile=0.98)


@pytest.mark.parametrize(
    ("picker", "control", "value", "words"),
    [
        (DeploymentPicker(), "workers", 0, "workers must be .* from 1 to 1024, got 0"),
        (DeploymentPicker(), "hourly_price", -1.0, "hourly_price must be a finite number"),
        (TrafficPicker(), "rate", -5.0, "rate must be .* got -5"),
        (TrafficPicker(), "burst", 0.5, "burst is the high rate over the low one, at least 1"),
        (TrafficPicker(), "duration", 0.0, "duration must be"),
        (TrafficPicker(), "seed", -1, "seed"),
        (TrafficPicker(), "rate", 1e6, "10,000,000 requests, and at most 1,000,000 are drawn here"),
        (PolicyPicker(), "max_size", 0, "max_size must be .* at least 1, got 0"),
        (PolicyPicker(), "max_wait", -1.0, "max_wait must be a finite number of seconds"),
        (SLOPicker(SLO(latency=0.1)), "latency", 0.0, "latency must be .* got 0"),
    ],
)
def test_a_bad_value_is_refused_in_words_until_it_is_mended(picker, control, value, words):
    knob = getattr(picker, control)
    good, before = picker.value, knob.value

    knob.value = value

    assert picker.value is None
    assert re.search(words, picker.error)
    assert (picker.status.text, picker.status.wrong) == (picker.error, True)

    knob.value = before

    assert picker.value == good
    assert (picker.error, picker.status.wrong) == ("", False)


# ------------------------------------------------------------------------------- Run and Stop


def test_live_percentiles_need_ten_requests_above_and_count_failures_as_late():
    live = Live()
    live.add([0.001] * 150)

    assert live.quantile(0.95) is None

    live.add([0.002] * 40)
    live.add([np.nan] * 10)

    assert live.quantile(0.5) == 0.001
    assert live.quantile(0.95) == 0.002
    live.add([np.nan] * 50)
    assert live.quantile(0.95) == np.inf


def test_live_words_tell_progress_pace_time_left_and_percentiles():
    now = [0.0]
    live = Live(clock=lambda: now[0])
    assert live.words() == ""

    live.progress(0, 2000)
    assert live.words() == "0 of 2,000"

    now[0] = 2.0
    live.progress(400, 2000)
    live.add([0.003] * 400)

    told = "400 of 2,000 · 200 per second · about 8 s left · p50 3 ms · p95 3 ms"
    assert live.words() == told


def test_a_run_that_ends_is_the_value():
    run = made_run()

    panel = RunPanel(doing(run))
    assert panel.status.text == "Ready."
    panel.start()

    assert panel.wait(60) is run
    assert panel.status.text == "Finished: 400 requests, p95 4 ms."
    assert not panel.running
    assert (panel.run_button.disabled, panel.stop_button.disabled) == (False, True)


def test_the_buttons_start_and_stop():
    entered = threading.Event()

    def work(live):
        entered.set()
        assert live.stopped.wait(60)
        return made_run(complete=False)

    panel = RunPanel(work)
    panel.run_button.click()
    assert entered.wait(60)
    assert panel.running
    assert (panel.run_button.disabled, panel.stop_button.disabled) == (True, False)
    panel.start()  # nothing more than the first
    panel.stop_button.click()

    assert not panel.wait(60).complete
    assert panel.status.text.startswith("Stopped: 400 requests")


def test_stop_without_a_run_does_nothing():
    panel = RunPanel(doing(made_run()))

    panel.stop()

    assert panel.status.text == "Ready."


def test_a_run_stopped_before_its_first_answer_leaves_no_value():
    panel = RunPanel(doing(Run.from_arrays(scheduled=[], finished=[])))

    panel.start()

    assert panel.wait(60) is None
    assert panel.status.text == "Stopped before any request was answered: nothing is kept."


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (InvocationError("The model gave no answer."), "The model gave no answer."),
        (KeyError("sent"), "KeyError: 'sent'"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_a_failure_is_told_and_leaves_the_panel_usable(failure, words):
    panel = RunPanel(doing(failure))
    panel.start()
    panel.wait(60)

    assert (panel.error, panel.status.text, panel.status.wrong) == (words, words, True)

    panel.offer(doing(made_run()))
    panel.start()

    assert len(panel.wait(60)) == 400
    assert (panel.error, panel.status.wrong) == ("", False)


def test_what_fails_while_results_are_drawn_is_told_too():
    panel = RunPanel(doing(made_run()))

    def draw(change):
        raise WorkbenchError("This cannot be drawn.")

    panel.observe(draw, "value")
    panel.start()
    panel.wait(60)

    assert panel.error == "This cannot be drawn."
    assert not panel.run_button.disabled


def test_run_is_disabled_with_the_reason_while_there_is_nothing_to_run():
    panel = RunPanel(reason="Choose a model first.")

    panel.start()

    assert panel.run_button.disabled
    assert panel.status.text == "Choose a model first."
    assert not panel.running


def test_a_reason_that_comes_up_during_a_run_is_told_at_its_end():
    offered = threading.Event()

    def work(live):
        assert offered.wait(60)
        return made_run()

    panel = RunPanel(work)
    panel.start()
    panel.offer(None, "rate must be positive.")
    offered.set()
    panel.wait(60)

    assert panel.status.text == "Finished: 400 requests, p95 4 ms. rate must be positive."
    assert panel.run_button.disabled


def test_the_page_is_updated_by_the_clock_and_not_by_every_request():
    def work(live):
        for done in range(1, 20_001):
            live.progress(done, 20_000)
        return made_run()

    panel = RunPanel(work, flush_every=3600)
    sent = []
    panel.bar.observe(lambda change: sent.append(change["new"]), "value")
    panel.start()
    panel.wait(60)

    assert sent == [20_000]
    assert panel.figures.value.startswith("20,000 of 20,000")


@pytest.mark.parametrize(("limit", "verdict"), [(0.005, "met: 100 %"), (0.003, "missed: 0 %")])
def test_a_run_is_held_against_its_target(limit, verdict):
    run = made_run(slo={"latency": limit, "quantile": 0.5}, warnings=["Read with care."])

    panel = RunPanel(doing(run))
    panel.start()
    panel.wait(60)

    words = f"Target p50 <= {1000 * limit:g} ms {verdict} in time. Read with care."
    assert panel.status.text == f"Finished: 400 requests, p50 4 ms. {words}"


def test_too_few_requests_for_a_percentile_are_said_to_be():
    panel = RunPanel(doing(made_run(20)))
    panel.start()
    panel.wait(60)

    assert "Finished: 20 requests. The 95th percentile needs at least 200" in panel.status.text


# ------------------------------------------------------------------------------------- results


def image_in(chart):
    data, words = re.search(r'base64,([^"]+)" alt="([^"]*)"', chart.value).groups()
    return base64.b64decode(data).decode(), words


def test_results_are_a_table_and_images_with_words():
    results = Results()
    assert results.layout.display == "none"
    priced = Local(hourly_price=1.0).to_dict()

    results.add(made_run(deployment=priced))
    results.add(made_run(label="mlp:1, local, up to 8, 25 ms", deployment=priced))

    assert results.layout.display is None
    assert '<tr><th scope="row">p95</th><td>4 ms</td><td>4 ms</td></tr>' in results.table.value
    for chart in results.charts.values():
        svg, words = image_in(chart)
        assert svg.startswith("<svg ")
        assert "no batching" in words
        assert "up to 8, 25 ms" in words


def test_traffic_that_all_runs_share_is_said_once(no_charts):
    results = Results()
    results.add(made_run(trace={"name": "constant(rate=4)"}))
    results.add(made_run(trace={"name": "constant(rate=4)"}))

    assert results.table.value.count("constant(rate=4)") == 1
    assert "Traffic: constant(rate=4).</caption>" in results.table.value

    results.add(made_run(trace={"name": "constant(rate=5)"}))

    row = '<th scope="row">traffic</th><td>constant(rate=4)</td><td>constant(rate=4)</td>'
    assert f"{row}<td>constant(rate=5)</td>" in results.table.value


def test_without_a_price_no_cost_is_drawn_and_the_reason_is_said():
    results = Results()

    results.add(made_run())

    assert "the price of this machine is 0 USD" in results.charts["cost"].value


def test_what_a_run_is_called_is_escaped():
    results = Results()

    results.add(made_run(label="<script>", trace={"name": "<b>"}, warnings=["<i>"]))

    text = results.table.value + "".join(chart.value for chart in results.charts.values())
    assert not re.search("<script>|<b>|<i>", text)


@pytest.fixture
def no_charts(monkeypatch):
    monkeypatch.setattr("workbench.widgets.results._CHARTS", {})


def test_six_runs_are_kept_and_clear_removes_them(no_charts):
    results = Results()
    runs = [made_run() for _ in range(7)]

    for run in runs:
        results.add(run)

    assert results.value == tuple(runs[1:])
    results.clear_button.click()
    assert (results.value, results.table.value, results.layout.display) == ((), "", "none")


# ------------------------------------------------------------------------------------- the app


@pytest.fixture
def panel(registry, monkeypatch):
    monkeypatch.setenv("WORKBENCH_FRONTEND", "widgets")
    return app(registry)


def test_the_controls_make_an_experiment_and_its_code(panel, registry):
    panel.policy.max_size.value = 4
    panel.model.group.label = "digits-mlp-small"
    scope = {}

    lines = panel.code.replace("experiment.run()", "None")
    exec(lines, scope)  # noqa: S102 - the code that the app shows is what is tested

    assert panel.experiment.policy == BatchPolicy(max_size=4, max_wait=0.025)
    assert panel.code.endswith("run = experiment.run()")
    assert scope["experiment"].facts() == panel.experiment.facts()


def test_code_is_shown_when_it_is_asked_for(panel):
    code = panel._code
    assert code.layout.display == "none"

    panel.code_button.value = True

    assert code.layout.display is None
    assert "wb.BatchPolicy(max_size=8, max_wait=0.025)" in code.value


def test_what_is_wrong_with_a_part_disables_run(panel):
    panel.policy.max_size.value = 0

    assert panel.panel.run_button.disabled
    assert re.match("Batching: max_size must be", panel.panel.status.text)
    with pytest.raises(InvalidInput, match="Batching: max_size must be"):
        _ = panel.experiment


def test_an_inference_type_that_needs_a_cloud_disables_run(panel):
    panel.deployment.kind.value = "lambda"

    assert panel.panel.run_button.disabled
    assert panel.panel.status.text == panel.deployment.value.needs

    panel.deployment.kind.value = "local"

    assert not panel.panel.run_button.disabled


def test_run_measures_the_experiment_of_that_moment(panel):
    panel.model.group.label = "digits-mlp-small"
    panel.traffic.kind.value = "constant"
    panel.traffic.duration.value = 1.0
    wanted = panel.experiment.facts()

    panel.panel.start()
    panel.policy.max_size.value = 0
    panel.panel.wait(120)

    (run,) = panel.runs
    assert panel.panel.error == ""
    assert (len(run), run.complete) == (300, True)
    assert {name: run.facts[name] for name in wanted} == wanted
    assert panel.panel.figures.value.startswith("300 of 300")


def test_a_registry_without_models_leaves_an_app_that_says_so(tmp_path):
    bare = App(Registry(tmp_path))

    assert bare.panel.status.text.startswith("Model: There is no approved model")


# ---------------------------------------------------------------------------------- the notebook


@pytest.fixture
def nobody_says(monkeypatch):
    for name in ("WORKBENCH_FRONTEND", "SERVER_SOFTWARE"):
        monkeypatch.delenv(name, raising=False)


def test_a_script_and_a_terminal_have_no_widgets(nobody_says, monkeypatch):
    assert frontend() == "static"

    terminal = SimpleNamespace(get_ipython=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "IPython", terminal)

    assert frontend() == "static"


@pytest.mark.parametrize(("asks", "expected"), [(True, "widgets"), (False, "static")])
def test_a_kernel_that_may_ask_for_input_has_somebody_in_front(
    nobody_says, monkeypatch, asks, expected
):
    kernel = SimpleNamespace(_allow_stdin=asks)
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=kernel))
    monkeypatch.setitem(sys.modules, "IPython", shell)

    assert frontend() == expected


def test_voila_has_widgets(nobody_says, monkeypatch):
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.13")

    assert frontend() == "widgets"


def test_who_says_so_is_believed(monkeypatch):
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.13")
    monkeypatch.setenv("WORKBENCH_FRONTEND", "static")

    assert frontend() == "static"

    monkeypatch.setenv("WORKBENCH_FRONTEND", "dynamic")
    with pytest.raises(InvalidInput, match="must be 'widgets' or 'static', got 'dynamic'"):
        frontend()


def test_nobody_in_front_gets_the_code_and_no_widgets(registry, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_FRONTEND", "static")
    own = Registry(tmp_path)
    own.register("mine", registry["digits-logistic"].path, approval="Approved")

    shown = app(own)

    assert not isinstance(shown, ipywidgets.Widget)
    assert f'wb.Registry({str(tmp_path)!r})["mine"]' in shown.code
    assert shown.code in repr(shown)
    assert "<pre>import workbench as wb" in shown._repr_html_()


def test_a_notebook_run_without_a_front_end_saves_text(jupyter_env, nobody_says, monkeypatch):
    for name, value in jupyter_env.items():
        monkeypatch.setenv(name, value)
    cell = nbformat.v4.new_code_cell("import workbench as wb\nwb.app()")
    notebook = nbformat.v4.new_notebook(cells=[cell])

    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()

    (output,) = notebook.cells[0].outputs
    assert "wb.app() shows controls in a live notebook" in output.data["text/html"]
    assert "widgets" not in notebook.metadata


def test_the_static_code_is_that_of_the_app_as_it_begins(panel, registry, monkeypatch):
    monkeypatch.setenv("WORKBENCH_FRONTEND", "static")

    assert app(registry).code == panel.code.replace("digits-mlp-wide:1", "digits-mlp-wide")
