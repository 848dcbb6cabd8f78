"""Servers of one's own, from money by hand to a run on this machine."""

import json

import numpy as np
import pytest

import workbench as wb
from tests.refused import refused
from workbench.cli import main
from workbench.deployment import OnPremise, RealTime
from workbench.errors import InvalidInput, NotPredictable
from workbench.planner import Options, crossings, plan
from workbench.prediction import predict
from workbench.pricing.cost import total
from workbench.queueing import mmc
from workbench.scaling import ScaleToZero
from workbench.simulator import simulate
from workbench.traffic.map import poisson_process
from workbench.traffic.trace import Trace
from workbench.widgets import App, DeploymentPicker, PlanView
from workbench.widgets.deployment_picker import describe_price
from workbench.widgets.parameters import TunableParameters

# An hour of a server: 35,040 / (4 x 8760) = 1 to buy, 0.5 kW x 0.2 = 0.1, and 876 / 8760 = 0.1.
ONE = OnPremise(
    purchase_price=35_040, lifetime_years=4, power_watts=500, kwh_price=0.2, upkeep_per_year=876
)
THREE = ONE.with_count(3)
UNBATCHED = wb.BatchPolicy()
TIMES = wb.ServiceTimes({1: 0.010, 2: 0.015, 3: 0.018, 4: 0.020}, label="mine")
TRACE = wb.poisson(rate=80, duration=60, seed=1)


def test_purchase_energy_and_upkeep_by_hand():
    items = {item.what: item for item in THREE.bill(THREE.idle_usage(7200))}

    assert {name: item.dollars for name, item in items.items()} == pytest.approx(
        {"purchase": 6.0, "energy": 0.6, "upkeep": 0.6}
    )
    assert (items["energy"].quantity, items["energy"].unit) == (pytest.approx(3.0), "kWh")
    assert {item.mark for item in items.values()} == {"user"}


def test_an_idle_hour_costs_what_a_busy_one_does():
    busy, calm = (wb.Trace([*np.linspace(0, 3599, n), 3599.99], 3600.0) for n in (1000, 1))
    costs = [wb.cost(simulate(each, UNBATCHED, THREE, TIMES)).total for each in (busy, calm)]

    assert costs == pytest.approx([3.6, 3.6], rel=1e-4)


def test_what_has_no_price_is_no_item():
    bought = OnPremise(purchase_price=35_040, lifetime_years=4)

    assert [item.what for item in bought.bill(bought.idle_usage(3600))] == ["purchase"]


@pytest.mark.parametrize("routing", ["least_outstanding", "random", "shared"])
def test_it_queues_as_a_real_time_endpoint_and_is_never_cold(routing):
    mine = OnPremise(servers=3, workers=2, routing=routing, purchase_price=1, lifetime_years=1)
    theirs = RealTime(instance_type="ml.m5.large", count=3, workers=2, routing=routing)
    policy = wb.BatchPolicy(max_size=4, max_wait=0.01)

    runs = [simulate(TRACE, policy, each, TIMES, cold_start=5.0, seed=2) for each in (mine, theirs)]

    assert runs[0].frame.equals(runs[1].frame)
    assert not runs[0].frame["cold"].any()
    assert "cold" not in " ".join(runs[0].warnings)


def test_it_does_not_scale():
    with refused(InvalidInput, "scaling", ONE.label):
        simulate(TRACE, UNBATCHED, ONE, TIMES, scaling=ScaleToZero())


def test_a_shared_queue_is_predicted_and_queues_of_their_own_are_not():
    levels = -np.log1p(-np.linspace(0, 0.99999, 20_000))
    levels[0] = 1e-9
    times = wb.ServiceTimes({1: 0.02 * levels})
    shared = OnPremise(servers=3, routing="shared", purchase_price=35_040, lifetime_years=4)

    found = predicted(shared, times)

    by_hand = mmc(rate=80, service=float(times.means[1]), servers=3)
    assert found.quantile(0.95) == by_hand.quantile(0.95)
    assert found.cost.total == pytest.approx(3 * 60 / 3600)
    with refused(NotPredictable, "least_outstanding"):
        predicted(THREE, times)


def predicted(deployment, times):
    return predict(TRACE, UNBATCHED, deployment, times, arrivals=poisson_process(80))


def test_a_plan_finds_how_many_servers_it_takes():
    slo, options = wb.SLO(latency=0.05), Options(kinds=["lambda"], deployments=[THREE])
    found = plan(TIMES, wb.poisson(rate=250, duration=60, seed=1), slo, options)

    best = next(one for one in found.finalists if one.deployment.kind == "on-premise")

    assert best.latency <= 0.05
    assert best.deployment == ONE.with_count(2)  # at 250 a second one is too slow, even in fours
    assert best.cost_per_million == pytest.approx(1e6 * 2 * 1.2 / 3600 / 250, rel=0.02)


def test_the_break_even_is_where_calls_cost_as_much_as_the_server():
    cheap = OnPremise(purchase_price=350.4, lifetime_years=4)  # a cent an hour
    options = Options(
        kinds=["lambda"],
        lambda_memory_mb=[1769],
        deployments=[cheap],
        max_sizes=[1],
        cold_start=0.0,
    )
    found = plan(TIMES, wb.poisson(rate=5, duration=60, seed=1), wb.SLO(latency=0.1), options)

    ((rate, below, above),) = crossings(found.break_even([0.5, 1, 2, 4, 8, 16, 32]))

    # 10 ms on one vCPU with 1769 MB, and a request
    call = 0.010 * 1769 / 1024 * 1.66667e-5 + 2e-7
    assert (below, above) == ("lambda", "on-premise")
    assert rate == pytest.approx(0.01 / 3600 / call, rel=0.03)


def test_a_run_measures_this_machine_as_one_of_the_servers(model):
    trace = wb.constant(rate=60, duration=2.0)
    experiment = wb.Experiment(model, THREE, trace)

    run = experiment.run()

    assert run.origin == "measured: this machine"
    assert run.facts["deployment"]["servers"] == 1
    assert len(run) == len(experiment.here.trace) < len(trace) / 2
    assert "one of 3 like servers" in run.warnings[-1]
    on = max(experiment.here.trace.duration, run.frame["finished"].max())
    assert wb.cost(run).total == pytest.approx(1.2 / 3600 * on)


def test_one_server_gets_the_whole_traffic(model):
    experiment = wb.Experiment(model, ONE, TRACE)

    assert experiment.here is experiment


def test_the_picker_holds_it_and_tells_the_price():
    picker = DeploymentPicker(ONE)

    picker["servers"].value = 2

    assert picker.value == ONE.with_count(2)
    assert describe_price(ONE, rate=100).startswith("$1.20 an hour, $3.33 a million requests")


def test_the_app_plans_with_it_beside_the_cloud(registry, monkeypatch):
    asked = []
    monkeypatch.setattr(PlanView, "offer", lambda *given: asked.append(given[-1]))
    shown = App(registry)
    shown.more.buttons["Plan"].click()

    shown.deployment.set(ONE)

    assert asked[0].deployments == ()
    assert asked[-1].deployments == (ONE,)


def test_a_slider_turns_the_number_of_servers(model):
    dials = TunableParameters(wb.Experiment(model, ONE, TRACE), largest=4)

    assert dials.vary(servers=2).deployment == ONE.with_count(2)


@pytest.mark.usefixtures("at_home")
def test_the_command_line_runs_it(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    command = (
        "run digits-mlp-small --rate 30 --duration 1s --on on-premise --servers 2 --workers 2 "
        "--purchase-price 35040 --lifetime-years 4 --power-watts 500 --kwh-price 0.2 --json"
    )

    assert main(command.split()) == 0

    told = json.dumps(json.loads(capsys.readouterr().out))
    assert "on-premise 1 server x 2 workers" in told


@pytest.mark.parametrize(
    "settings",
    [
        {"servers": 0},
        {"workers": 1025},
        {"lifetime_years": 0},
        {"purchase_price": -1},
        {"power_watts": float("nan")},
        {"kwh_price": "0.2"},
        {"upkeep_per_year": -1},
        {"routing": "best"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_setting_out_of_its_limits_is_refused(settings):
    with refused(InvalidInput, *settings, *settings.values()):
        OnPremise(**{"purchase_price": 1, "lifetime_years": 1, **settings})


def test_all_items_add_up():
    assert total(ONE.bill(ONE.idle_usage(3600))) == pytest.approx(1.2)


def test_servers_cost_the_same_where_no_request_comes_for_most_of_the_time(model):
    idle = Trace([0.0, 1.0], 3600.0)
    experiment = wb.Experiment(model, THREE, idle)
    times = wb.ServiceTimes({1: 0.01})

    simulated = wb.cost(experiment.simulate(times))
    predicted = THREE.bill(THREE.idle_usage(3600.0))

    assert simulated.total == pytest.approx(sum(item.dollars for item in predicted))


def test_a_run_that_was_stopped_is_billed_until_it_was(model):
    whole = wb.Experiment(model, ONE, Trace([0.0, 1.0], 3600.0)).simulate(
        wb.ServiceTimes({1: 0.01})
    )
    stopped = whole.amend(complete=False)

    assert wb.cost(whole).total == pytest.approx(1.2)
    assert wb.cost(stopped).total == pytest.approx(1.2 / 3600 * stopped.frame["finished"].max())
