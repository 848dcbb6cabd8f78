"""The controls without a browser: the values they hold, and what they do when told to."""

import re
import sys
import threading
from types import SimpleNamespace

import ipywidgets
import nbformat
import numpy as np
import pytest

from tests.children import run_notebook
from tests.refused import refused, unnamed
from workbench.batching.timer import BatchPolicy
from workbench.deployment import KINDS, Local
from workbench.errors import InvalidInput, InvocationError, NotPredictable, WorkbenchError
from workbench.registry.api import Registry
from workbench.run import Run, load_run
from workbench.widgets import App, LiveProgress, RunPanel, app, frontend


def made_run(count=400, latency=0.004, **facts):
    """A run that did not happen."""
    scheduled = np.arange(count) / 100
    facts = {"label": "mlp:1, local, no batching", "deployment": Local().to_dict()} | facts
    return Run.from_arrays(scheduled=scheduled, finished=scheduled + latency, facts=facts)


def doing(outcome):
    """A way that ends at once, with this run or this failure."""

    def work(_):
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return {"run": work}


# ------------------------------------------------------------------------------- Run and Stop


def test_live_percentiles_need_ten_requests_above_and_count_failures_as_late():
    live = LiveProgress()
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
    live = LiveProgress(clock=lambda: now[0])
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

    assert panel.wait() is run
    assert not unnamed(panel.status.text, "400 requests", "p95 4 ms")
    assert not panel.running
    assert (panel.buttons["run"].disabled, panel.stop_button.disabled) == (False, True)


def test_the_buttons_start_and_stop():
    entered = threading.Event()

    def work(live):
        entered.set()
        assert live.stopped.wait(60)
        return made_run(complete=False)

    panel = RunPanel({"run": work})
    panel.buttons["run"].click()
    assert entered.wait(60)
    assert panel.running
    assert (panel.buttons["run"].disabled, panel.stop_button.disabled) == (True, False)
    panel.start()  # nothing more than the first
    panel.stop_button.click()

    assert not panel.wait().complete
    assert panel.status.text.startswith("Stopped: 400 requests")


def test_stop_without_a_run_does_nothing():
    panel = RunPanel(doing(made_run()))

    panel.stop()

    assert panel.status.text == "Ready."


def test_each_way_has_a_button_and_those_without_work_are_disabled():
    panel = RunPanel({"predict": lambda _: made_run(), "simulate": lambda _: made_run(7)})

    panel.buttons["simulate"].click()

    assert len(panel.wait()) == 7
    assert panel.way == "simulate"
    assert [panel.buttons[way].disabled for way in ("predict", "simulate", "run")] == [0, 0, 1]


def test_work_with_nothing_to_keep_can_be_given_up():
    measuring, entered = threading.Event(), threading.Event()

    def work(live):
        live.doing = "Measuring."
        live.go_on(1, 9)
        entered.set()
        assert live.stopped.wait(60)
        live.go_on(2, 9)
        measuring.set()

    panel = RunPanel({"predict": work}, flush_interval=0.001)
    panel.start("predict")
    assert entered.wait(60)
    panel.stop()

    assert panel.wait() is None
    assert not measuring.is_set()
    assert panel.status.text.startswith("Stopped")
    assert not panel.status.wrong


def test_a_run_stopped_before_its_first_answer_leaves_no_value():
    panel = RunPanel(doing(Run.from_arrays(scheduled=[], finished=[])))

    panel.start()

    assert panel.wait() is None
    assert panel.status.text.startswith("Stopped")


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (InvocationError("The model gave no answer."), "The model gave no answer."),
        (NotPredictable("No formula."), "No formula. Here: press Simulate."),
        (KeyError("sent"), "KeyError: 'sent'"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_a_failure_is_told_and_leaves_the_panel_usable(failure, words):
    panel = RunPanel(doing(failure))
    panel.start()
    panel.wait()

    assert (panel.error, panel.status.text, panel.status.wrong) == (words, words, True)

    panel.offer(doing(made_run()))
    panel.start()

    assert len(panel.wait()) == 400
    assert (panel.error, panel.status.wrong) == ("", False)


def test_what_fails_while_results_are_drawn_is_told_too():
    panel = RunPanel(doing(made_run()))

    def draw(change):
        raise WorkbenchError("This cannot be drawn.")

    panel.observe(draw, "value")
    panel.start()
    panel.wait()

    assert panel.error == "This cannot be drawn."
    assert not panel.buttons["run"].disabled


def test_run_is_disabled_with_the_reason_while_there_is_nothing_to_run():
    panel = RunPanel(reason="Choose a model first.")

    panel.start()

    assert panel.buttons["run"].disabled
    assert panel.status.text == "Choose a model first."
    assert not panel.running


def test_a_reason_that_comes_up_during_a_run_is_told_at_its_end():
    offered = threading.Event()

    def work(live):
        assert offered.wait(60)
        return made_run()

    panel = RunPanel({"run": work})
    panel.start()
    panel.offer({}, "rate must be positive.")
    offered.set()
    panel.wait()

    assert panel.status.text.endswith(" rate must be positive.")
    assert panel.buttons["run"].disabled


def test_the_page_is_updated_by_the_clock_and_not_by_every_request():
    def work(live):
        for done in range(1, 20_001):
            live.progress(done, 20_000)
        return made_run()

    panel = RunPanel({"run": work}, flush_interval=3600)
    sent = []
    panel.bar.observe(lambda change: sent.append(change["new"]), "value")
    panel.start()
    panel.wait()

    assert sent == [20_000]
    assert panel.figures.value.startswith("20,000 of 20,000")


@pytest.mark.parametrize(("limit", "verdict"), [(0.005, "met: 100 %"), (0.003, "missed: 0 %")])
def test_a_run_is_held_against_its_target(limit, verdict):
    run = made_run(slo={"latency": limit, "quantile": 0.5}, warnings=["Read with care."])

    panel = RunPanel(doing(run))
    panel.start()
    panel.wait()

    named = ("p50 4 ms", f"p50 ≤ {1000 * limit:g} ms", verdict, "Read with care.")
    assert not unnamed(panel.status.text, *named)


def test_too_few_requests_for_a_percentile_are_said_to_be():
    panel = RunPanel(doing(made_run(20)))
    panel.start()
    panel.wait()

    assert "Finished: 20 requests, too few for p95 of their own." in panel.status.text


@pytest.fixture
def no_charts(monkeypatch):
    monkeypatch.setattr("workbench.widgets.results.CHARTS", {})


def at_origin(panel):
    """Which column of the results says how each is known."""
    return [each["key"] for each in panel.results.table.columns].index("origin")


def style_of(panel):
    return {way: button.button_style for way, button in panel.buttons.items()}


def test_the_sensible_way_stands_out_and_an_obstacle_says_why_a_way_is_closed():
    work = doing(made_run())["run"]
    panel = RunPanel({"predict": work, "simulate": work, "run": work})

    assert style_of(panel) == {"predict": "", "simulate": "", "run": "primary"}
    panel.offer(
        {"predict": work, "simulate": work, "run": work},
        terms={"run": "This run takes 10 days."},
        obstacles={"predict": "No formula is known for this."},
    )
    assert style_of(panel) == {"predict": "", "simulate": "primary", "run": ""}
    assert panel.buttons["predict"].disabled
    assert panel.buttons["predict"].tooltip == "No formula is known for this."
    panel.start("predict")
    assert not panel.running
    panel.offer({"predict": work})
    assert style_of(panel) == {"predict": "primary", "simulate": "", "run": ""}
    assert panel.buttons["predict"].tooltip != "No formula is known for this."


def test_a_long_run_is_begun_once_that_is_confirmed():
    panel = RunPanel()
    panel.offer(doing(made_run()), terms={"run": "This run takes 10 days."})
    panel.start()

    assert not panel.running
    assert panel.status.text.startswith("This run takes 10 days. Confirm")
    panel.confirm_button.click()
    panel.wait()
    assert isinstance(panel.value, Run)


def test_the_live_chart_has_a_point_a_second_of_what_came_since_the_last():
    now = [0.0]
    live = LiveProgress(clock=lambda: now[0])
    live.progress(0, 1000)
    live.add([0.001] * 100)
    assert [each[1:] for each in live.points()] == [(0.001, 0.001)]
    live.add([0.003] * 50)
    assert len(live.points()) == 1  # not yet a second later

    now[0] = 1.5
    assert live.points()[-1] == (1.5, 0.003, 0.003)
    now[0] = 9.0
    assert len(live.points()) == 2  # of nothing new there is no point


# ------------------------------------------------------------------------------------- the app


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where profiles and runs are kept."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def panel(registry, home, monkeypatch):
    monkeypatch.setenv("WORKBENCH_FRONTEND", "widgets")
    monkeypatch.setenv("WORKBENCH_HOME", str(home))
    return app(registry)


def test_the_controls_make_an_experiment_and_its_code(panel, registry):
    panel.policy["max_size"].value = 4
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
    panel.policy["max_size"].value = 0

    assert panel.panel.buttons["run"].disabled
    assert not unnamed(panel.panel.status.text, "Batching", "Max size", 0)
    with refused(InvalidInput, "Batching", "Max size", 0):
        _ = panel.experiment


def test_run_measures_the_experiment_of_that_moment(panel):
    panel.model.group.label = "digits-mlp-small"
    panel.traffic["kind"].value = "constant"
    panel.traffic["duration"].value = 1.0
    wanted = panel.experiment.facts()

    panel.panel.start()
    panel.policy["max_size"].value = 0
    panel.panel.wait()

    (run,) = panel.runs
    assert panel.panel.error == ""
    assert (len(run), run.complete) == (300, True)
    assert {name: run.facts[name] for name in wanted} == wanted
    assert panel.panel.figures.value.startswith("300 of 300")
    assert load_run(run.record.kept).frame.equals(run.frame)
    assert f"wb.load_run({run.record.kept!r})" in panel.panel.status.text


def settled(panel, way):
    """What came of a way."""
    panel.panel.start(way)
    panel.panel.wait()
    assert panel.panel.error == ""
    return panel.results.value[-1]


def executed(panel):
    """The names that the shown code defines."""
    scope = {}
    exec(panel.code, scope)  # noqa: S102 - the code that the app shows is what is tested
    return scope


def test_predict_and_simulate_give_the_numbers_of_the_shown_code(panel):
    panel.model.group.label = "digits-mlp-small"
    panel.deployment.kind.value = "serverless"
    panel.traffic.set("poisson", rate=100, duration=20)
    panel.simulation["cold_start"].value = "0.5"

    simulated = settled(panel, "simulate")

    assert panel.code.endswith("run = experiment.simulate(cold_start=0.5)")
    assert simulated.origin == "simulated"
    assert executed(panel)["run"].frame.equals(simulated.frame)

    predicted = settled(panel, "predict")

    assert panel.code.endswith("prediction = experiment.predict()")
    assert executed(panel)["prediction"].summary() == predicted.summary()
    assert "Predicted by buffer up to 8, 25 ms, p95 " in panel.panel.status.text
    known_by = [row["cells"][at_origin(panel)]["text"] for row in panel.results.table.rows]
    assert known_by == ["simulated", "predicted"]
    assert len(panel.runs) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_inference_type_is_simulated(no_charts, panel, kind):
    panel.model.group.label = "digits-mlp-small"
    panel.deployment.kind.value = kind
    panel.traffic.set("constant", rate=100, duration=3)

    run = settled(panel, "simulate")

    assert run.record.deployment == panel.deployment.value


def test_what_no_formula_covers_is_said_with_the_way_out(panel):
    panel.model.group.label = "digits-mlp-small"

    closed = panel.panel.buttons["predict"]
    assert closed.disabled
    assert re.search("No formula is known .* press Simulate", closed.tooltip)
    assert not panel.panel.buttons["simulate"].disabled


def test_a_profile_that_is_being_measured_can_be_given_up(panel, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    measuring = threading.Event()
    panel.panel.bar.observe(lambda change: change["new"] and measuring.set(), "value")

    panel.panel.start("simulate")
    assert measuring.wait(60)
    panel.panel.stop()
    panel.panel.wait()

    assert panel.panel.status.text.startswith("Stopped")
    assert not list(tmp_path.glob("profiles/*"))


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
    with refused(InvalidInput, "WORKBENCH_FRONTEND", "'widgets'", "'static'", "'dynamic'"):
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

    run_notebook(notebook)

    (output,) = notebook.cells[0].outputs
    assert "wb.app() shows controls in a live notebook" in output.data["text/html"]
    assert "widgets" not in notebook.metadata


def test_the_static_code_is_that_of_the_app_as_it_begins(panel, registry, monkeypatch):
    monkeypatch.setenv("WORKBENCH_FRONTEND", "static")

    assert app(registry).code == panel.code.replace("digits-mlp-wide:1", "digits-mlp-wide")
