import dataclasses
import json
import math
import pickle

import numpy as np
import polars as pl
import pytest

import workbench as wb
from tests.graphs import linear, two_inputs
from tests.refused import refused
from workbench.comparison.prediction_errors import find_measured
from workbench.deployment import Deployment, RoutedDeployment
from workbench.ensembles import Ensemble, Member
from workbench.errors import InvalidInput
from workbench.measuring.setup import find_largest, record_of
from workbench.report.runs import report_html
from workbench.routing.base import SingleAnswerRouter
from workbench.run import COLUMNS, load_record
from workbench.run.columns import build_frame
from workbench.service_times import ServiceTimes

TRACE = wb.constant(rate=10, duration=1)


@dataclasses.dataclass(frozen=True)
class First:
    """Asks the first place that is left."""

    label: str = "first"

    def router(self, places, seed=0):  # noqa: ARG002 - as routers
        return FirstRouter()

    def to_dict(self):
        return {"kind": "first"}


class FirstRouter(SingleAnswerRouter):
    def choose(self, request, states, now):  # noqa: ARG002 - as routers
        return (states[0].index,)


@pytest.fixture(scope="module")
def models(registry):
    return registry["digits-mlp-small"], registry["digits-logistic"]


@pytest.fixture(scope="module")
def ensemble(models):
    small, logistic = models
    policy = wb.BatchPolicy(max_size=4, max_wait=0.01)
    return Ensemble(
        {
            "small": Member(small, wb.Local(), policy),
            "plain": Member(logistic, wb.Local(workers=2)),
        },
        First(),
        network_latency={"plain": 0.02},
    )


def test_an_ensemble_is_a_value(ensemble, models):
    small, _ = models
    again = Ensemble(dict(ensemble.members), First(), network_latency={"plain": [0.02]})

    assert again == ensemble
    assert hash(again) == hash(ensemble)
    assert pickle.loads(pickle.dumps(ensemble)) == ensemble  # noqa: S301 - its own
    assert dataclasses.replace(ensemble, patience=2.0) != ensemble
    assert ensemble.label == "first: small, plain"
    facts = json.loads(json.dumps(ensemble.to_dict()))
    assert facts["members"]["small"]["sha256"] == small.sha256
    assert facts["router"] == {"kind": "first"}
    assert facts["patience"] is None


def test_places_say_what_is_known_and_nan_for_the_rest(ensemble, models):
    times = {"small": ServiceTimes({1: 0.003})}

    small, plain = ensemble.places(
        times=times, accuracy={"plain": 0.9}, accuracy_by_context={"plain": {"noisy": 0.5}}
    )

    assert (small.name, small.servers, small.seconds) == ("small", 1, 0.003)
    assert small.accuracy == models[0].traits.accuracy
    assert (plain.accuracy, plain.servers, plain.network_latency) == (0.9, 2, (0.02,))
    assert plain.accuracy_by_context == {"noisy": 0.5}
    assert math.isnan(plain.seconds)
    assert math.isnan(plain.cost)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"members": {}}, ["1 to 255", 0]),
        ({"members": {"": None}}, ["member", "''"]),
        ({"members": {"a": "model"}}, ["Member a", "model"]),
        ({"router": "round robin"}, ["router", "round robin"]),
        ({"patience": 0}, ["patience", 0]),
        ({"network_latency": {"other": 1}}, ["network_latency", "['other']"]),
        ({"network_latency": {"plain": -1}}, ["network_latency", "plain", -1]),
    ],
)
def test_what_is_no_ensemble_is_refused(ensemble, change, named):
    with refused(InvalidInput, *named):
        dataclasses.replace(ensemble, **change)


def test_members_answer_the_same_questions(ensemble, tmp_path):
    sums = wb.Registry(tmp_path).register("sums", linear(), task="sums")
    other = Member(sums, wb.Local())

    with refused(InvalidInput, "small", "digits", "other", "sums"):
        Ensemble({**ensemble.members, "other": other}, First())


def test_members_take_the_same_columns(tmp_path):
    registry = wb.Registry(tmp_path)
    content = two_inputs()
    other = content.replace(b"\x01a", b"\x01c")  # another name for the first input
    members = {
        name: Member(registry.register(name, file, task="sums", kind="other"), wb.Local())
        for name, file in (("one", content), ("other", other))
    }

    with refused(InvalidInput, "one", "'a: float32 (batch)'", "other", "'c: float32 (batch)'"):
        Ensemble(members, First())


def test_members_have_one_pool_of_samples(ensemble, models, tmp_path):
    samples = models[0].samples()
    fewer = type(samples)(samples.inputs[:9], samples.targets[:9])
    content = models[0].path.read_bytes()
    copy = wb.Registry(tmp_path).register("few", content, task="digits", samples=fewer)

    with refused(InvalidInput, "small", "few", "Samples(9 rows"):
        Ensemble({**ensemble.members, "few": Member(copy, wb.Local())}, First())


def test_a_member_answers_single_calls(models):
    with refused(InvalidInput, "batch transform 1 x ml.m5.large"):
        Member(models[0], wb.BatchTransform(instance_type="ml.m5.large"))


def test_an_experiment_of_an_ensemble_is_made_of_its_members(ensemble):
    experiment = wb.Experiment(ensemble, trace=TRACE, slo=wb.SLO(latency=0.1))

    assert experiment.deployment == RoutedDeployment(parts=(wb.Local(), wb.Local(workers=2)))
    assert find_largest(experiment) == 4
    assert experiment.alone("small") == wb.Experiment(
        ensemble.members["small"].model,
        wb.Local(),
        TRACE,
        wb.BatchPolicy(max_size=4, max_wait=0.01),
        experiment.slo,
    )
    assert dataclasses.replace(experiment, slo=None).deployment == experiment.deployment
    record = record_of(experiment)
    assert record.places == ensemble.names
    assert [each.name for each in record.members] == list(ensemble.names)
    assert type(record).from_dict(json.loads(json.dumps(record.to_dict()))) == record
    assert experiment.facts()["router"] == {"kind": "first"}
    assert Deployment.from_dict(experiment.deployment.to_dict()) == experiment.deployment


def test_an_ensemble_takes_no_deployment_and_no_policy_beside_it(ensemble):
    with refused(InvalidInput, "local, 1 worker"):
        wb.Experiment(ensemble, wb.Local(), TRACE)
    with refused(InvalidInput, "BatchPolicy(max_size=2"):
        wb.Experiment(ensemble, trace=TRACE, policy=wb.BatchPolicy(max_size=2))
    with refused(InvalidInput, "large", "small, plain"):
        wb.Experiment(ensemble, trace=TRACE).alone("large")


def test_this_machine_stands_for_one_of_like_servers_of_each_member(models):
    server = wb.OnPremise(servers=2, purchase_price=1000, lifetime_years=4)
    like = Ensemble(
        {name: Member(m, server) for name, m in zip("ab", models, strict=True)}, First()
    )

    here = wb.Experiment(like, trace=TRACE).here

    assert [part.servers for part in here.deployment.parts] == [1, 1]
    assert 0 < len(here.trace) < len(TRACE)
    unlike = like.on((server, wb.Local()))
    with refused(InvalidInput, "[2, 1]"):
        _ = wb.Experiment(unlike, trace=TRACE).here


@pytest.fixture
def routed_run(ensemble):
    """Two requests: the second was asked of both places, and the first one's answer was given."""
    parts = {"batch": [0, 1, 2], "place": [0, 1, 0], "request": [0, 1, 1]}
    calls = build_frame([0.0, 1.0, 1.0], [0.5, 1.25, 1.75], parts)
    frame = build_frame([0.0, 1.0], [0.5, 1.75], {"batch": [0, 2], "place": [0, 0]})
    frame = frame.with_columns(
        tried=pl.Series([1, 2], dtype=pl.UInt8), context=pl.Series(["clean", "noisy"])
    )
    record = record_of(wb.Experiment(ensemble, trace=TRACE))
    return wb.Run(frame, record, calls=calls)


def test_a_run_with_calls_survives_saving(routed_run, tmp_path):
    folder = routed_run.save(tmp_path / "run")
    again = wb.load_run(folder)

    assert again.record == routed_run.record == load_record(folder)
    assert again.frame.equals(routed_run.frame)
    assert again.frame.columns == [*COLUMNS, "tried", "context"]
    assert again.calls.equals(routed_run.calls)
    wb.delete_run(folder)
    assert not folder.exists()


def test_damaged_calls_are_found(routed_run, tmp_path):
    folder = routed_run.save(tmp_path / "run")
    (folder / "calls.parquet").write_bytes(b"nothing")

    with refused(wb.errors.Damaged, "calls.parquet"):
        wb.load_run(folder)


def test_every_call_is_billed_where_it_was_made(routed_run):
    lambdas = [wb.Lambda(memory_mb=1024 * n, max_concurrency=2, timeout=9) for n in (1, 2)]
    parts = RoutedDeployment(parts=lambdas)
    members = tuple(
        dataclasses.replace(each, deployment=one)
        for each, one in zip(routed_run.record.members, lambdas, strict=True)
    )

    bill = wb.cost(routed_run.amend(deployment=parts, members=members))

    seconds = [item.quantity for item in bill.items if item.unit == "GB-second"]
    assert seconds == pytest.approx([0.5 + 0.75, 2 * 0.25])
    assert bill.answered == 2


def test_a_simulation_is_compared_with_a_run_by_the_same_router(routed_run):
    measured = routed_run.amend(origin="measured: this machine")
    simulated = routed_run.amend(origin="simulated")
    other = simulated.amend(router={"kind": "last"})

    found = find_measured({"measured": measured, "simulated": simulated, "other": other})

    assert found == {"simulated": "measured"}


def test_a_report_says_which_models_were_chosen_from(routed_run):
    html = report_html(routed_run)

    assert "digits-mlp-small:1 (sha256" in html
    assert "kind first" in html


def test_places_and_members_are_the_same(routed_run):
    with refused(InvalidInput, "('other',)", "('small', 'plain')"):
        routed_run.amend(places=("other",))
    assert np.isnan(wb.Run.from_arrays(scheduled=[0.0], finished=[1.0]).frame["correct"][0])
