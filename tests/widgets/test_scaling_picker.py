"""Scaling in the app: which policy, what takes the rest, the code for it, and what is shown."""

import pytest

from workbench.batching.timer import BatchPolicy
from workbench.deployment import KINDS, Async, Hybrid, Lambda, Local, RealTime, Serverless
from workbench.deployment.spill import SPILL_RULES, Hedge, InFlight
from workbench.errors import InvalidInput
from workbench.scaling import (
    SCALING_POLICIES,
    InstanceCapacity,
    ScaleToZero,
    Schedule,
    StepScaling,
    TargetTracking,
)
from workbench.traffic.patterns import constant
from workbench.widgets import App, ScalingPicker
from workbench.widgets.code import value_code
from workbench.widgets.run_works import works

FLEET = RealTime(instance_type="ml.m5.large")
FUNCTION = Lambda(memory_mb=512, max_concurrency=9)
POLICIES = [
    TargetTracking(target=70.0, metric="utilisation", least=2, most=9, scale_in=False),
    StepScaling(steps=[(0, 1), (10, 3)], metric="backlog"),
    Schedule([(0.0, 3), (90.5, 1)]),
    ScaleToZero(count=2, idle=60.0),
]


@pytest.fixture
def picker():
    picker = ScalingPicker()
    picker.offer(FLEET)
    return picker


def test_a_fleet_keeps_its_size_and_helps_itself_until_something_is_chosen(picker):
    assert picker.value.settings == {}
    assert picker.value.on(FLEET) == FLEET
    assert picker.status.text == "The fleet keeps its size."


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
def test_every_policy_has_controls_that_hold_any_of_its_settings(picker, policy):
    picker.set(FLEET, policy)

    assert picker.value.settings == {"scaling": policy}


def test_every_kind_of_policy_and_rule_and_overflow_is_on_offer(picker):
    offered = [[kind for _, kind in each.kind.options] for each in picker._groups[:3]]
    overflows = [kind for kind, each in KINDS.items() if each.on_demand]

    assert offered[0] == ["none", *overflows]
    assert offered[1] == list(SPILL_RULES)
    assert set(SCALING_POLICIES) <= set(offered[2])


@pytest.mark.parametrize("kind", SPILL_RULES)
@pytest.mark.parametrize("overflow", ["lambda", "serverless"])
def test_any_overflow_under_any_rule_makes_a_hybrid(picker, overflow, kind):
    picker.overflow.kind.value, picker.spill.kind.value = overflow, kind

    made = picker.value.on(FLEET)
    assert (made.overflow.kind, made.spill.kind, made.base) == (overflow, kind, FLEET)


def test_a_hybrid_is_held_part_by_part(picker):
    hybrid = Hybrid(base=FLEET, overflow=FUNCTION, spill=Hedge(after=0.25))
    picker.set(hybrid)
    assert picker.value.on(FLEET) == hybrid

    picker.set(FLEET)
    assert picker.value.on(FLEET) == FLEET


def test_only_what_a_deployment_can_have_is_shown(picker):
    picker.set(Hybrid(base=FLEET, overflow=FUNCTION), POLICIES[0])

    for deployment in (Local(), Serverless.example(), None):
        picker.offer(deployment)
        assert picker.layout.display == "none"
        assert picker.value == (None, None, None)
    picker.offer(Async(instance_type="ml.m5.large"))
    assert (picker.value.overflow, picker.value.policy) == (None, POLICIES[0])
    picker.offer(FLEET)
    assert picker.value.overflow == FUNCTION


def test_what_is_wrong_is_said_beside_the_control_of_its_own_group(picker):
    picker.overflow.kind.value, picker.policy.kind.value = "lambda", "target tracking"
    picker.policy["most"].value = 0  # so is a setting of the rule called

    assert picker.value is None
    assert "Most must" in picker.policy.form._lines["most"].value
    assert picker.spill.form._lines == {}
    picker.policy["most"].value = 5
    assert picker.error == ""


def test_numbers_that_are_none_are_refused_where_they_stand(picker):
    picker.policy.kind.value = "schedule"
    picker.policy["changes"].value = "0 four"

    assert picker.error.startswith("Changes must be numbers")


# ------------------------------------------------------------------------ policies that plan ahead


@pytest.fixture
def planner():
    picker = ScalingPicker(find=lambda: InstanceCapacity(**ONE))
    picker.offer(FLEET, constant(rate=50, duration=600))
    picker.overflow.kind.value, picker.policy.kind.value = "lambda", "predictive"
    picker.planned["rate"].value, picker.planned["call"].value = 20.0, 500.0
    return picker


ONE = {"instance_type": "ml.m5.large", "rate": 12.5, "hourly_price": 0.115}


def test_the_slider_begins_at_the_critical_quantile_and_follows_it(planner):
    policy = planner.value.policy
    critical = policy.capacities[0].critical_quantile(policy.call_price)
    assert planner.planned["quantile"].value == pytest.approx(critical, abs=0.0006)
    assert policy.quantile is None

    planner.planned["call"].value = 5000.0  # functions are ten times as dear
    assert planner.planned["quantile"].value > critical
    assert planner.value.policy.quantile is None


def test_the_slider_shows_instances_and_dollars_and_sets_the_quantile(planner):
    planner.planned["quantile"].value = 0.25
    assert planner.value.policy.quantile == 0.25
    assert "3 instances for quantile 0.25 of demand, enough 100 % of" in planner.status.text
    assert "$0.35 an hour, functions $0.00." in planner.status.text  # 3 x $0.115


def test_what_one_instance_can_do_is_asked_for(planner):
    planner.find_button.click()
    assert planner.value.policy.capacities[0].rate == 12.5


def test_what_is_an_example_is_said_until_it_is_found():
    picker = ScalingPicker(find=lambda: InstanceCapacity(**ONE), time_call=lambda _: 0.25)
    picker.offer(FLEET, constant(rate=50, duration=600))
    picker.overflow.kind.value, picker.policy.kind.value = "lambda", "predictive"
    assert "examples" in picker.status.text
    moves = []
    picker.planned["quantile"].observe(lambda change: moves.append(change.new), "value")

    picker.find_button.click()
    assert len(moves) == 1
    assert "examples" not in picker.status.text
    assert picker.planned["call"].value == 250.0


@pytest.mark.usefixtures("at_home")
def test_an_instance_is_asked_with_the_batches_that_are_chosen(app, monkeypatch):
    app.scaling.set(Hybrid(base=FLEET, overflow=FUNCTION))
    app.scaling.policy.kind.value = "predictive"
    app.policy.set(BatchPolicy(max_size=2, max_wait=0.01))

    assert app._find_capacity().policy == BatchPolicy(max_size=2, max_wait=0.01)
    app.scaling.find()
    taken = app.experiment.on(FUNCTION).service(app.experiment.ensure_profile()).means[2] / 2
    assert app.scaling.planned["call"].value == pytest.approx(1000 * taken, abs=1e-3)


def test_why_no_instance_can_do_it_is_said():
    def fail():
        raise InvalidInput("rate: none meets the target.")

    picker = ScalingPicker(find=fail)
    picker.find_button.click()
    assert picker.status.text == "rate: none meets the target."


def test_functions_that_are_always_cheaper_leave_no_instance_and_say_so(planner):
    planner.planned["rate"].value = 0.01
    planner.planned["quantile"].value = planner._critical
    assert "no instance pays" in planner.status.text


@pytest.mark.parametrize("kind", ["predictive", "mark described", "mark released"])
def test_a_policy_that_plans_is_held_and_its_code_makes_it(planner, kind):
    import workbench as wb
    from workbench import forecasts

    planner.policy.kind.value = kind
    made = planner.value.policy
    other = ScalingPicker()
    other.offer(FLEET)
    other.overflow.set("lambda", planner.value.overflow)
    other.planned["call"].value = 500.0
    other.set(Hybrid(base=FLEET, overflow=planner.value.overflow), made)

    assert other.value.policy.to_dict() == made.to_dict()
    again = eval(value_code(made), {"wb": wb, "forecasts": forecasts})  # noqa: S307 - our own words
    assert again.to_dict() == made.to_dict()


def test_each_forecaster_on_offer_makes_a_policy(planner):
    for name in planner.planned["forecaster"].options:
        planner.planned["forecaster"].value = name
        assert type(planner.value.policy.forecaster).__name__ == name


# -------------------------------------------------------------------------------------- in the app


@pytest.fixture
def app(registry):
    app = App(registry)
    app.model.group.label = "digits-mlp-small"
    app.deployment.set(FLEET)
    yield app
    app.close()


def code_values(app):
    import workbench as wb

    lines = app.code.split("experiment = ")[0], app.code.partition("experiment = ")[2]
    experiment, _, rest = lines[1].partition("\n)\n")
    names = {"wb": wb}
    exec(lines[0], names)  # noqa: S102 - our own lines
    exec(f"experiment = {experiment}\n)", names)  # noqa: S102
    scaled = next((line for line in rest.splitlines() if line.startswith("scaling")), "")
    exec(scaled, names)  # noqa: S102
    return names, rest


@pytest.mark.usefixtures("at_home")
def test_the_code_makes_the_hybrid_and_the_policy_that_the_controls_hold(app):
    app.scaling.set(Hybrid(base=FLEET, overflow=FUNCTION, spill=InFlight(3)), POLICIES[0])

    names, rest = code_values(app)
    assert names["experiment"].deployment == app.experiment.deployment
    assert names["scaling"] == POLICIES[0]
    assert "run = experiment.run(cloud, scaling=scaling)" in rest


def test_simulate_and_run_are_given_the_policy(app, monkeypatch):
    given = []
    monkeypatch.setattr("workbench.widgets.run_works._load_profile", lambda *_: None)
    monkeypatch.setattr(
        "workbench.experiment.Experiment.simulate", lambda *_, **more: given.append(more)
    )
    app.scaling.set(FLEET, POLICIES[0])

    works(app.experiment, None, scaling=app.scaling.value.policy, seed=3)["simulate"](None)
    assert given == [{"seed": 3, "scaling": POLICIES[0]}]


@pytest.mark.usefixtures("at_home")
def test_a_tracked_fleet_is_simulated_and_shown_with_its_instances(app):
    app.traffic["duration"].value = 5.0
    app.scaling.set(FLEET, TargetTracking(target=600.0, period=1.0, out_periods=1))

    app.panel.start("simulate")
    run = app.panel.wait()
    assert app.panel.error == ""
    assert run.record.scaling["kind"] == "target tracking"
    assert app.results.charts["scaling"].figure.title == "Load and instances over time"


@pytest.mark.usefixtures("at_home")
def test_a_hybrid_is_simulated_and_shown_with_the_shares_of_its_places(app):
    app.traffic["duration"].value = 5.0
    app.simulation["boot"].value = "2"
    app.scaling.set(Hybrid(base=FLEET, overflow=FUNCTION), TargetTracking(target=600.0, period=1.0))

    app.panel.start("simulate")
    run = app.panel.wait()
    assert app.panel.error == ""
    assert run.record.places == ("base", "overflow")
    for chart in ("scaling", "places"):
        assert "overflow" in str(app.results.charts[chart].figure.spec())
    assert app.code.endswith("experiment.simulate(boot=2.0, scaling=scaling)")


def test_a_value_is_code_that_makes_it_again():
    import workbench as wb

    for value in (*POLICIES, Hybrid(base=FLEET, overflow=FUNCTION)):
        assert eval(value_code(value), {"wb": wb}) == value  # noqa: S307 - our own words
