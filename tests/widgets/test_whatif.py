"""What-if without a browser: dials, outlooks, and what the page is told."""

import math
import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.refused import refused
from workbench.batching.policies import WorkConserving
from workbench.batching.timer import BatchPolicy
from workbench.deployment import BatchTransform, Lambda, Local, RealTime, Serverless
from workbench.errors import InvalidInput, InvocationError, WorkbenchError
from workbench.experiment import Experiment
from workbench.run import SLO
from workbench.run.costs import cost
from workbench.service_times import ServiceTimes
from workbench.traffic.patterns import poisson
from workbench.widgets import App, WhatIf
from workbench.widgets import whatif as whatif_module
from workbench.widgets.parameters import TunableParameters
from workbench.widgets.preview import summarize_simulation

TIMES = ServiceTimes.affine(0.004, 0.001, largest=16)


@pytest.fixture
def experiment(model):
    return Experiment(
        model,
        Local(workers=2, hourly_price=0.1),
        poisson(rate=400, duration=20, seed=1),
        BatchPolicy(max_size=4, max_wait=0.01),
        SLO(latency=0.03),
    )


def names(experiment):
    return [dial.name for dial in TunableParameters(experiment, largest=16)]


class Page(WhatIf):
    """What-if whose page is a list of what was sent to it."""

    def __init__(self, *given, **settings):
        self.answers = []
        super().__init__(*given, **settings)

    def send(self, content, buffers=None):  # noqa: ARG002 - as a widget's
        self.answers.append(content)

    def ask(self, **values):
        self._handle_request(self, {"number": "7", "values": values}, [])
        return self.answers[-1]


# ------------------------------------------------------------------------------------- outlook


@pytest.mark.parametrize(
    "deployment",
    [
        Local(workers=2, hourly_price=0.1),
        RealTime(instance_type="ml.m5.large", count=2),
        Serverless(memory_mb=2048, max_concurrency=2),  # some are throttled
        Lambda(memory_mb=2048, max_concurrency=50),
        BatchTransform(instance_type="ml.m5.large", period=5),
    ],
    ids=lambda each: each.kind,
)
def test_an_outlook_tells_what_the_simulated_run_tells(experiment, deployment):
    experiment = experiment.on(deployment)
    run = experiment.simulate(TIMES, seed=3)

    found = summarize_simulation(experiment, TIMES, seed=3)

    assert (found.requests, found.rate) == (len(run), experiment.trace.rate)
    assert found.latency == run.quantile(0.95)
    assert found.attainment == run.attainment(experiment.slo)
    assert found.per_million == pytest.approx(cost(run).per_million)


def test_the_law_that_is_drawn_counts_the_requests_answered_before_each_latency(experiment):
    latencies = experiment.simulate(TIMES).frame["latency"].to_numpy()

    found = summarize_simulation(experiment, TIMES)

    counted = [(latencies < edge).mean() for edge in found.seconds]
    np.testing.assert_allclose(found.shares, counted, atol=1e-12)
    assert (found.shares[0], found.shares[-1]) == (0, 1)
    assert len(found.seconds) <= 240


def test_failures_never_come_into_the_law_and_late_for_ever(experiment):
    experiment = experiment.on(Serverless(memory_mb=2048, max_concurrency=1))

    found = summarize_simulation(experiment, TIMES)

    assert found.latency == math.inf
    assert found.shares[-1] < 0.95


def test_without_a_target_the_percentile_is_p95_and_nothing_is_late(experiment):
    found = summarize_simulation(replace(experiment, slo=None), TIMES)

    assert found.latency == experiment.simulate(TIMES).quantile(0.95)
    assert found.attainment == 1


def test_provisioned_instances_have_no_cost_that_can_be_told(experiment):
    on = Lambda(memory_mb=2048, max_concurrency=50, provisioned=1)

    assert summarize_simulation(experiment.on(on), TIMES).per_million is None


@pytest.mark.no_cover
def test_a_policy_that_is_simulated_step_by_step_is_for_the_first_requests(experiment):
    class Own(WorkConserving):
        """A policy that no compiled loop knows."""

    experiment = replace(experiment, policy=Own(max_size=4))
    experiment = replace(experiment, trace=poisson(rate=400, duration=60, seed=1))

    assert summarize_simulation(experiment, TIMES).requests == 20_000
    total = f"{len(experiment.trace):,}"
    assert f" The first 20,000 of {total} requests, " in Page(experiment, TIMES).ask()["words"]


# --------------------------------------------------------------------------------------- dials


def test_each_inference_type_has_dials_of_its_own(experiment):
    batching = ["load", "max_size", "max_wait"]
    real_time = RealTime(instance_type="ml.m5.large")
    serverless = Serverless(memory_mb=2048, max_concurrency=2)
    job = BatchTransform(instance_type="ml.m5.large")

    assert names(experiment) == [*batching, "workers"]
    assert names(experiment.on(real_time)) == [*batching, "count"]
    assert names(experiment.on(serverless)) == [*batching, "memory_mb"]
    assert names(experiment.on(Lambda(memory_mb=1769, max_concurrency=50))) == [
        *batching,
        "memory_mb",
    ]
    assert names(experiment.on(job)) == ["load"]
    assert names(replace(experiment, policy=WorkConserving(max_size=4))) == ["load", "workers"]


def test_a_slider_begins_where_the_experiment_is_even_off_its_steps(experiment):
    policy = BatchPolicy(max_size=4, max_wait=0.01234)
    odd = replace(experiment, policy=policy).on(Lambda(memory_mb=1769, max_concurrency=50))

    told = {dial.name: dial.to_dict() for dial in TunableParameters(odd, largest=16)}

    at = {name: each["values"][each["at"]] for name, each in told.items()}
    assert at == {"load": 1.0, "max_size": 4, "max_wait": 0.01234, "memory_mb": 1769}
    assert all(each["values"] == sorted(set(each["values"])) for each in told.values())


def test_every_step_of_every_slider_makes_an_experiment(experiment):
    kinds = (
        Local(),
        RealTime(instance_type="ml.m5.large"),
        Lambda(memory_mb=1769, max_concurrency=50),
        Serverless(memory_mb=2048, max_concurrency=2),
    )
    for on in kinds:
        dials = TunableParameters(experiment.on(on), largest=16)
        for dial in dials:
            for value in dial.values:
                dials.vary(**{dial.name: value})


def test_turned_dials_make_the_experiment_that_code_makes(experiment):
    made = TunableParameters(experiment, largest=16).vary(
        load=2.0, max_size=8, max_wait=0.005, workers=3
    )

    assert made == Experiment(
        experiment.model,
        Local(workers=3, hourly_price=0.1),
        experiment.trace.scale(2),
        BatchPolicy(max_size=8, max_wait=0.005),
        experiment.slo,
    )


def test_dials_left_alone_leave_the_experiment_as_it_was(experiment):
    dials = TunableParameters(experiment, largest=16)

    assert dials.vary() == experiment
    assert dials.vary(load=1.0).trace is experiment.trace
    assert dials.vary(load=2.0).trace is dials.vary(load=2.0, max_size=2).trace


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("load", 0, [0]),
        ("load", 50, [0.1, 10, 50]),
        ("max_size", 17, [1, 16, 17]),
        ("max_size", 2.5, [1, 16, 2.5]),
        ("max_size", "", [1, 16, "''"]),
        ("max_wait", -0.001, [-0.001]),
        ("workers", 0, [1, 1024, 0]),
        ("memory_mb", 2048, ["load, max_size"]),
    ],
)
def test_a_bad_value_is_refused_by_name(experiment, name, value, named):
    with refused(InvalidInput, name, *named):
        TunableParameters(experiment, largest=16).vary(**{name: value})


# -------------------------------------------------------------------------------------- widget


def test_turning_makes_another_value_and_tells_what_it_comes_to(experiment):
    whatif = WhatIf(experiment, TIMES)
    heard = []
    whatif.observe(lambda change: heard.append(change["new"]), "value")

    found = whatif.turn(max_size=8)

    assert whatif.value.policy == BatchPolicy(max_size=8, max_wait=0.01)
    assert heard == [whatif.value]
    assert found.latency == whatif.value.simulate(TIMES).quantile(0.95)


def test_the_page_is_told_what_is_simulated_what_it_costs_and_whether_the_target_is_met(experiment):
    page = Page(experiment, TIMES)

    met, missed = page.ask(), page.ask(load=5)

    assert met["number"] == "7"
    assert met["words"].startswith("Simulated: p95 ")
    assert "Target p95 ≤ 30 ms met: " in met["words"]
    assert " a million requests. " in met["words"]
    assert (met["missed"], missed["missed"]) == (False, True)
    assert "p95 ≤ 30 ms missed" in missed["words"]
    assert page.value.trace == experiment.trace.scale(5)


def test_a_refusal_names_the_control_and_leaves_the_value(experiment):
    page = Page(experiment, TIMES)

    answer = page.ask(max_size=99)

    assert answer["about"] == "max_size"
    assert answer["error"].endswith("from 1 to 16, got 99.")
    assert page.value is experiment


def test_service_times_with_gaps_are_told_and_end_nothing(experiment):
    page = Page(experiment, ServiceTimes({1: 0.004, 4: 0.008}))

    assert "error" in page.ask()
    assert "words" in page.ask(max_size=1)


def test_settings_are_those_of_simulate(experiment):
    on = experiment.on(Lambda(memory_mb=2048, max_concurrency=50))

    found = WhatIf(on, TIMES, cold_start=2.0).turn()

    assert found.attainment == on.simulate(TIMES, cold_start=2.0).attainment(on.slo)
    assert found.attainment < WhatIf(on, TIMES).turn().attainment


def test_without_an_experiment_it_says_so():
    with refused(WorkbenchError, "experiment"):
        WhatIf().turn(load=2)


def test_the_latest_experiment_that_is_prepared_is_the_one_shown(experiment, monkeypatch):
    entered, go_on = threading.Event(), threading.Event()

    def measured(_, progress):
        entered.set()
        assert go_on.wait(60)
        progress(1, 2)
        return TIMES

    monkeypatch.setattr(whatif_module, "_load_profile", measured)
    whatif = WhatIf()
    first = whatif.prepare(experiment)
    assert entered.wait(60)
    later = replace(experiment, policy=BatchPolicy(max_size=2, max_wait=0.02))
    second = whatif.prepare(later)
    assert (whatif.value, whatif.note) == (None, "Getting the model's service times here.")
    go_on.set()
    first.join()
    second.join()

    assert (whatif.value, whatif.note) == (later, "")


def test_nothing_is_measured_beside_a_run_but_once_it_has_ended(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    app = App(registry)
    whatif = app.more["What if"]
    app.panel.set_trait("running", True)
    whatif.prepare(app.experiment, busy=app._is_measuring).join()

    assert whatif.note.startswith("A run is under way, which would be disturbed by measuring")
    assert not (tmp_path / "profiles").exists()

    offered = []
    monkeypatch.setattr(whatif, "prepare", lambda experiment, **_: offered.append(experiment))
    app.more.buttons["What if"].click()
    app.panel.set_trait("running", False)

    assert offered == [app.experiment] * 2


def test_what_goes_wrong_in_preparing_is_said(experiment, monkeypatch):
    def fail(*_):
        raise InvocationError("The model failed.")

    monkeypatch.setattr(whatif_module, "_load_profile", fail)
    whatif = WhatIf()

    whatif.prepare(experiment).join()

    assert (whatif.value, whatif.note) == (None, "The model failed.")


def test_the_app_offers_its_experiment_to_the_sliders_while_they_are_shown(registry, monkeypatch):
    app = App(registry)
    offered = []
    whatif = app.more["What if"]
    monkeypatch.setattr(whatif, "prepare", lambda experiment, **_: offered.append(experiment))

    app.policy["max_size"].value = 4
    assert offered == []
    app.more.buttons["What if"].click()
    assert offered == [app.experiment]

    app.policy["max_size"].value = 2
    assert offered[-1].policy.max_size == 2
    app.policy["max_size"].value = 0
    assert whatif.note.startswith("Batching: Max size must")
    assert app.panel.status.text.startswith("Batching: Max size must")
