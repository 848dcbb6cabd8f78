"""The pickers without a browser: the values they hold, their prices, and what they refuse."""

import re
from dataclasses import fields

import pytest

from tests.refused import refused, unnamed
from workbench.batching.policies import DeadlineAware, Replanned, Steered, WorkConserving
from workbench.batching.timer import BatchPolicy
from workbench.deployment import (
    KINDS,
    Async,
    BatchTransform,
    Lambda,
    LambdaManaged,
    Local,
    RealTime,
    Serverless,
)
from workbench.errors import InvalidInput
from workbench.pricing.sheet import PriceSheet
from workbench.registry.api import Registry
from workbench.run import SLO
from workbench.traffic.patterns import bursty, constant, diurnal, flash_crowd, poisson
from workbench.widgets import (
    DeploymentPicker,
    ModelPicker,
    PolicyPicker,
    SimulationPicker,
    SLOPicker,
    TrafficPicker,
)
from workbench.widgets.deployment_picker import describe_price
from workbench.widgets.traffic_picker import PRESETS, draw_traffic, sketch


def shown(picker):
    """The names of the controls that can be seen."""
    return list(picker.form.values)


def beside(picker, name):
    """What is said beside a control."""
    knobs = picker._settings.form if isinstance(picker, DeploymentPicker) else picker.form
    return re.sub("<[^>]*>", "", knobs._lines[name].value)


# --------------------------------------------------------------------------------------- models


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
    picker.refresh()

    assert re.fullmatch("pending:1, [0-9.]+ kB", picker.status.text)


# ---------------------------------------------------------------------------------- deployments

PLACES = [
    Local(workers=2, threads=3, hourly_price=0.5),
    RealTime(instance_type="ml.c5.large", count=2, workers=2, routing="random"),
    Serverless(memory_mb=4096, max_concurrency=9, provisioned=2, keep_alive=60, on_limit="queue"),
    Async(instance_type="ml.c5.large", count=0, concurrency=4, ttl=60, timeout=30),
    BatchTransform(instance_type="ml.c5.large", count=3, period=900.0),
    Lambda(memory_mb=512, max_concurrency=7, architecture="arm64", timeout=3),
    LambdaManaged(instance_types=["m7g.xlarge", "m7g.2xlarge"], concurrency=2, most=9, target=0.3),
]


@pytest.mark.parametrize("value", PLACES, ids=lambda value: value.kind)
def test_an_inference_type_has_its_own_knobs_alone_and_holds_any_value(value):
    begun, turned = DeploymentPicker(value), DeploymentPicker()
    turned.set(value)

    assert begun.value == turned.value == value
    assert list(begun._settings.form.controls) == [field.name for field in fields(value)]


def test_every_inference_type_begins_with_something_that_is_allowed():
    picker = DeploymentPicker()

    for kind in KINDS:
        picker.kind.value = kind

        assert picker.value.kind == kind
        assert picker.value.label in picker.status.text


def test_a_type_keeps_its_settings_while_others_are_looked_at():
    picker = DeploymentPicker(Serverless(memory_mb=1024, max_concurrency=3))

    picker.kind.value = "lambda"
    picker["memory_mb"].value = 128
    picker.kind.value = "serverless"

    assert picker.value == Serverless(memory_mb=1024, max_concurrency=3)


def test_what_may_be_left_open_is_none_when_it_is_empty():
    picker = DeploymentPicker(BatchTransform(instance_type="ml.m5.large", period=60))

    picker["period"].value = " "

    assert picker.value.period is None

    picker["period"].value = "soon"

    assert "Job every must be a number, or nothing" in beside(picker, "period")


@pytest.mark.parametrize(
    ("value", "name", "bad", "words"),
    [
        (Local(), "workers", 0, "Workers must be .* got 0"),
        (Local(), "hourly_price", -1.0, "Price must be a finite number"),
        (PLACES[1], "count", 0, "Instances must be .* at least 1"),
        (PLACES[2], "max_concurrency", 201, "Max concurrency must be .* from 1 to 200"),
        (PLACES[2], "provisioned", 10, r"Provisioned must be at most Max concurrency \(9\)"),
        (PLACES[3], "ttl", 5, "In queue must be .* from 60 to 21600"),
        (PLACES[4], "period", "-5", "Job every must be"),
        (PLACES[5], "memory_mb", 64, "Memory must be .* from 128 to 10240"),
    ],
)
def test_a_limit_is_refused_beside_the_control_until_it_is_kept(value, name, bad, words):
    picker = DeploymentPicker(value)
    before = picker[name].value

    picker[name].value = bad

    assert picker.value is None
    assert re.search(words, picker.error)
    assert beside(picker, name) == picker.error
    assert "wb-refused" in picker[name]._dom_classes
    assert picker.status.text == ""

    picker[name].value = before

    assert (picker.value, picker.error, beside(picker, name)) == (value, "", "")
    assert "wb-refused" not in picker[name]._dom_classes


@pytest.mark.parametrize(
    ("deployment", "words"),
    [
        (
            Local(hourly_price=0.36),
            r"\$0.36 an hour, \$1.00 a million .* \(price by your account\)",
        ),
        (
            Async(instance_type="ml.m5.large", count=0),
            r"\$0.115 an hour for each .* \(price inferred",
        ),
        (BatchTransform(instance_type="ml.m5.large"), r"\$0.115 an hour while a job runs"),
        (PLACES[2], r"\$8.00 a million calls of 100 ms, \$2.88 an hour at 100 .* 2 provisioned"),
        (PLACES[5], r"a million calls of 100 ms, .* \(price verified, 20"),
    ],
    ids=lambda each: getattr(each, "kind", ""),
)
def test_a_price_is_told_with_how_it_is_known(deployment, words):
    assert re.search(words, describe_price(deployment, rate=100))


def test_the_price_follows_the_knobs_and_the_traffic():
    picker = DeploymentPicker(RealTime(instance_type="ml.m5.large"))
    assert "$0.115 an hour (price verified" in picker.status.text

    picker["count"].value = 2
    picker.rate = 100.0

    assert "$0.23 an hour, $0.639 a million requests at 100 a second" in picker.status.text


def test_an_instance_without_a_price_is_a_value_all_the_same():
    bare = PriceSheet(region="nowhere", rows=())

    picker = DeploymentPicker(RealTime(instance_type="ml.x1.huge"), prices=bare)

    assert picker.value == RealTime(instance_type="ml.x1.huge")
    assert not unnamed(picker.status.text, "'ml.x1.huge'", "nowhere")


# -------------------------------------------------------------------------------------- traffic


@pytest.mark.parametrize(
    ("kind", "trace", "knobs"),
    [
        (
            "bursty",
            bursty(rate=50, burst=6, dwell=(4.0, 1.0), duration=4, seed=7),
            ["rate", "burst", "low_stay", "high_stay", "duration", "seed"],
        ),
        ("poisson", poisson(rate=50, duration=4, seed=7), ["rate", "duration", "seed"]),
        ("constant", constant(rate=50, duration=4), ["rate", "duration"]),
        (
            "diurnal",
            diurnal(rate=50, swing=0.9, period=60, duration=4, seed=7),
            ["rate", "swing", "period", "duration", "seed"],
        ),
        (
            "flash_crowd",
            flash_crowd(rate=50, peak=5, start=3, ramp=1, hold=3, decay=1, duration=4, seed=7),
            ["rate", "peak", "start", "ramp", "hold", "decay", "duration", "seed"],
        ),
    ],
)
def test_traffic_is_what_the_arrival_process_draws(kind, trace, knobs):
    picker = TrafficPicker(kind, rate=50, duration=4, seed=7)

    assert picker.value == trace
    assert picker.status.text.startswith(f"{len(trace)} requests in 4 s")
    assert set(shown(picker)) == {"preset", "kind", *knobs}
    assert eval(picker.code) == trace  # noqa: S307 - the code that the picker shows


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_sets_kind_and_settings(preset):
    picker = TrafficPicker("constant", rate=3, duration=5)

    picker.preset.value = preset

    kind, settings = PRESETS[preset]
    assert picker.value == draw_traffic(kind, **settings)
    assert "<polygon" in picker.preview.value
    assert picker.preset.value == preset

    picker["duration"].value += 1

    assert picker.preset.label == "Own settings"


def test_the_preview_shows_each_windows_rate():
    drawn = sketch(constant(rate=120, duration=2))

    assert drawn.count(",0.0") == 240  # as high as can be, from each window's start to its end
    assert 'aria-label="Requests over 2 s: 120 a second at most"' in drawn


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_traffic_comes_from_a_file(tmp_path, ending):
    trace = constant(rate=4, duration=2)
    path = getattr(trace, f"to_{ending}")(tmp_path / f"arrivals.{ending}")
    picker = TrafficPicker()

    picker["kind"].value = "file"

    assert shown(picker) == ["preset", "kind", "path", "column"]
    assert "File must name a file that ends in .csv, .jsonl or .parquet" in beside(picker, "path")

    picker["path"].value = str(path)

    assert picker.value == trace
    assert (picker.error, beside(picker, "path")) == ("", "")
    assert picker.code == f"from_{ending}({str(path)!r})"

    picker["column"].value = "when"

    assert picker.value is None
    assert "no column &#x27;when&#x27;" in beside(picker, "path")
    assert picker.code.endswith(", 'when')")


def test_a_file_that_is_not_there_is_said_beside_its_name(tmp_path):
    picker = TrafficPicker("file")

    picker["path"].value = str(tmp_path / "none.csv")

    assert not unnamed(beside(picker, "path"), tmp_path / "none.csv")
    assert picker.preview.value == ""


# ------------------------------------------------------------------------- policies and targets


@pytest.mark.parametrize(
    ("value", "knobs"),
    [
        (BatchPolicy(), []),
        (BatchPolicy(max_size=8, max_wait=0.025), ["max_size", "max_wait"]),
        (WorkConserving(max_size=4), ["max_size"]),
        (
            DeadlineAware(latency=0.1, service=(0.02, 0.025, 0.03), margin=0.01),
            ["max_size", "latency", "margin", "first", "more"],
        ),
        (
            Steered(latency=0.05, quantile=0.9, max_size=16, window=300),
            ["max_size", "latency", "quantile", "window"],
        ),
        (
            Replanned(settings=[(0, BatchPolicy(max_size=8, max_wait=0.025)), (30, BatchPolicy())]),
            ["settings"],
        ),
    ],
)
def test_a_policy_has_its_own_settings_alone_and_is_held_as_it_is(value, knobs):
    picker = PolicyPicker(value)

    assert picker.value == value
    assert set(shown(picker)) == {"kind", *knobs}
    assert picker.status.text == value.label


def test_a_policy_without_controls_is_refused_with_those_that_have():
    with refused(InvalidInput, "'mine'"):
        PolicyPicker("mine")


def test_a_policy_waits_milliseconds_in_the_control_and_seconds_in_the_value():
    picker = PolicyPicker(BatchPolicy(max_size=8, max_wait=0.025))
    picker["max_wait"].value = 40

    assert picker.value == BatchPolicy(max_size=8, max_wait=0.04)


def test_a_deadline_aware_policy_is_told_what_a_batch_takes():
    picker = PolicyPicker(DeadlineAware(latency=0.1, service=(0.02, 0.03)))

    picker["first"].value, picker["more"].value = 1.0, 0.5

    assert picker.value.service == (0.001, 0.0015)


def test_a_target_of_any_percentile_can_be_held():
    picker = SLOPicker(SLO(latency=0.1, quantile=0.98))
    picker["latency"].value = 50

    assert picker.value == SLO(latency=0.05, quantile=0.98)

    picker.set(SLO(latency=0.2, quantile=0.97))

    assert picker.value == SLO(latency=0.2, quantile=0.97)


def test_a_simulation_is_told_what_it_cannot_know():
    picker = SimulationPicker()
    assert picker.value == {}

    picker["cold_start"].value = "0.5"
    picker["seed"].value = 3

    assert picker.value == {"cold_start": 0.5, "seed": 3}


@pytest.mark.parametrize(
    ("picker", "control", "value", "words"),
    [
        (TrafficPicker(), "rate", -5.0, "Rate must be .* got -5"),
        (TrafficPicker(), "burst", 0.5, "Burst is the high rate over the low one, at least 1"),
        (TrafficPicker(), "low_stay", 0.0, "dwell must be"),
        (TrafficPicker(), "duration", 0.0, "Duration must be"),
        (TrafficPicker(), "seed", -1, "Seed"),
        (TrafficPicker("diurnal"), "swing", 2.0, "Swing must be from 0 to 1"),
        (PolicyPicker(BatchPolicy(max_size=2)), "max_size", 0, "Max size must be .*"),
        (PolicyPicker(BatchPolicy(max_size=2)), "max_wait", -1.0, "Max wait must be a finite"),
        (PolicyPicker(Steered(latency=1)), "window", 10, "Turn after must be"),
        (
            PolicyPicker(Replanned(settings=[(0, BatchPolicy())])),
            "settings",
            "0 8",
            "From .s., size, wait must",
        ),
        (
            PolicyPicker(Replanned(settings=[(0, BatchPolicy())])),
            "settings",
            "5 8 1",
            "From .s., size, wait must be a start .* start at 0",
        ),
        (
            PolicyPicker(DeadlineAware(latency=1, service=(0.1,))),
            "first",
            0.0,
            "First takes must be such",
        ),
        (
            PolicyPicker(DeadlineAware(latency=1, service=(0.1,))),
            "max_size",
            10**9,
            "Max size must be from 1 to 1024 here",
        ),
        (SLOPicker(SLO(latency=0.1)), "latency", 0.0, "Latency must be .* got 0"),
        (SimulationPicker(), "cold_start", "-1", "Cold start must be seconds, 0 or more"),
        (SimulationPicker(), "cold_start", "soon", "Cold start must be seconds"),
        (SimulationPicker(), "seed", -1, "Seed must be"),
    ],
)
def test_a_bad_value_is_refused_beside_its_control_until_it_is_mended(
    picker, control, value, words
):
    knob = picker[control]
    good, before = picker.value, knob.value

    knob.value = value

    assert picker.value is None
    assert re.search(words, picker.error)
    assert re.search(words, beside(picker, control))
    assert picker.status.text == ""

    knob.value = before

    assert (picker.value, picker.error, beside(picker, control)) == (good, "", "")


def test_what_no_single_control_is_to_blame_for_is_said_under_all():
    picker = TrafficPicker()

    picker["rate"].value = 1e6

    assert not unnamed(picker.status.text, "10,000,000", "1,000,000")
    assert picker.status.wrong

    picker["rate"].value = 1e300

    assert not unnamed(picker.status.text, "1e+301")
