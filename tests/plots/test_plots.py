"""Every plot: the frame it computes, the figure it draws, and the files that figure becomes."""

import json
import math
import re

import altair as alt
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refused import refused
from workbench import plots
from workbench.deployment import KINDS as SIMPLE
from workbench.deployment import Lambda, Local, RealTime
from workbench.deployment.base import COMPOSITES
from workbench.errors import InvalidInput, StorageError
from workbench.formatting import dollars
from workbench.measuring.profile import QUANTILE_LEVELS, Profile
from workbench.plots.channels import colour, dash, shape
from workbench.plots.series import caption, name_results
from workbench.plots.theme import DASHES, INK, KINDS, PALETTE, SHAPES
from workbench.pricing.cost import Cost
from workbench.pricing.usage import Usage
from workbench.run import SLO, Run

NAN = math.nan
LOADING = re.compile(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//|@import|url\(\s*["']?\s*http""")


def run_of(latencies, *, label="run", origin="simulated", gap=1.0, slo=None, **columns):
    scheduled = gap * np.arange(len(latencies))
    facts = {"label": label} | ({"slo": {"latency": slo, "quantile": 0.95}} if slo else {})
    return Run.from_arrays(
        scheduled=scheduled,
        finished=scheduled + np.asarray(latencies, dtype=float),
        origin=origin,
        facts=facts,
        **columns,
    )


def gamma(count, mean, seed, **keywords):
    return run_of(np.random.default_rng(seed).gamma(4, mean / 4, count), gap=0.01, **keywords)


def profile_of(name, times):
    rows = [
        {
            "batch_size": size,
            "threads": 1,
            "state": state,
            "repeats": 30,
            "median": seconds,
            "low": 0.98 * seconds,
            "high": 1.02 * seconds,
            "mean": seconds,
            "quantiles": [seconds * (0.5 + level) for level in QUANTILE_LEVELS],
        }
        for (size, state), seconds in times.items()
    ]
    return Profile(pl.DataFrame(rows), {"model": {"name": name}})


def every_figure():
    runs = [
        gamma(600, 0.02, 1, label="model, no batching", slo=0.1),
        gamma(600, 0.9, 2, label="model, up to 8, 25 ms", slo=0.1),
    ]
    function = Lambda(memory_mb=1024, max_concurrency=9)
    there = function.bill(Usage(seconds=6, calls=600))
    costs = {
        "here": Cost(items=Local(hourly_price=0.4).bill(Usage(seconds=60)), answered=600),
        "there": Cost(
            items=there,
            answered=600,
            notes=("A.",),
        ),
    }
    fleet = runs[0].amend(
        deployment=RealTime(instance_type="ml.m5.large"), instances=[(0, 3), (2, 7)]
    )
    profile = profile_of("m", {(1, "back to back"): 0.002, (4, "back to back"): 0.004})
    return {
        "ecdf": plots.plot_latency_ecdf(runs),
        "over time": plots.plot_latency_over_time(runs),
        "batch sizes": plots.plot_batch_sizes(runs),
        "cost": plots.plot_cost_by_item(costs),
        "service time": plots.plot_service_times(profile),
        "scaling": plots.plot_scaling(fleet),
        "cost over time": plots.plot_cost_over_time(fleet),
        "policies": plots.plot_cost_and_attainment({"one": fleet}, bound=0.01),
    }


FIGURES = (
    *("ecdf", "over time", "batch sizes", "cost", "service time"),
    *("scaling", "cost over time", "policies"),
)


@pytest.fixture(scope="module")
def figures():
    return every_figure()


@pytest.fixture(params=FIGURES)
def figure(figures, request):
    return figures[request.param]


# ----------------------------------------------------------------------------------- what is shown


def test_the_ecdf_of_a_few_latencies_has_a_step_at_each():
    frame = plots.latency_ecdf(run_of([0.3, 0.1, 0.2, 0.1]))

    assert frame.columns == ["run", "origin", "latency", "share"]
    assert frame.rows() == [
        ("run", "simulated", 0.1, 0.5),
        ("run", "simulated", 0.2, 0.75),
        ("run", "simulated", 0.3, 1.0),
    ]


def test_the_ecdf_of_a_run_with_failures_does_not_reach_one():
    frame = plots.latency_ecdf(run_of([0.1, NAN, 0.2, NAN]))

    assert frame.select("latency", "share").rows() == [(0.1, 0.25), (0.2, 0.5)]


def test_a_run_that_failed_throughout_has_no_ecdf_and_still_a_figure():
    run = run_of([NAN] * 3)

    assert plots.latency_ecdf(run).is_empty()
    assert "3 of 3" in plots.plot_latency_ecdf(run).svg()
    assert plots.latency_over_time(run)["upper"].to_list() == [None]
    assert plots.plot_latency_over_time(run).svg()


@given(st.lists(st.floats(0, 10) | st.just(NAN), min_size=1, max_size=500), st.integers(2, 300))
def test_the_points_of_an_ecdf_are_few_and_lie_on_it(latencies, points):
    run = run_of(latencies, gap=0.0)
    frame = plots.latency_ecdf(run, points=points)

    shares = [(np.round(run.latencies, 9) <= x).mean() for x in frame["latency"]]
    assert frame.height <= points
    assert frame["share"].to_list() == pytest.approx(shares)
    if run.answered:
        assert frame["share"][-1] == pytest.approx(run.answered / len(run))


def test_latency_over_time_has_the_quantiles_of_each_bin():
    run = run_of([0.1, 0.2, 0.3, 0.4, 0.5, NAN], gap=1.0)
    frame = plots.latency_over_time(run, quantile=0.9, bins=2)

    assert frame.columns == ["run", "start", "stop", "requests", "failed", "median", "upper"]
    assert frame.rows() == [
        ("run", 0.0, 2.5, 3, 0, pytest.approx(0.2), pytest.approx(0.3)),
        ("run", 2.5, 5.0, 3, 1, pytest.approx(0.5), None),
    ]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.integers(1, 70))
def test_each_request_is_in_one_bin_of_latency_over_time(scheduled, bins):
    run = Run.from_arrays(scheduled=scheduled, finished=np.asarray(scheduled) + 1)

    assert plots.latency_over_time(run, bins=bins)["requests"].sum() == len(run)


def test_a_short_run_has_few_bins_and_a_long_one_sixty():
    assert plots.latency_over_time(gamma(199, 0.1, 1)).height == 3
    assert plots.latency_over_time(gamma(9000, 0.1, 1)).height == 60


def test_a_short_run_beside_a_long_one_leaves_it_its_bins():
    both = plots.latency_over_time([gamma(9000, 0.1, 1), gamma(99, 0.1, 1)])

    assert both["run"].value_counts().get_column("count").sort().to_list() == [1, 60]


def test_words_too_long_for_a_chart_go_on_in_the_next_line():
    name = "serverless 2048 MB, up to 8, 25 ms, measured: local cloud"
    cost = Cost(
        items=Local(hourly_price=1).bill(Usage(seconds=1)), answered=1, notes=("word " * 40,)
    )
    figure = plots.plot_cost_by_item({name: cost})
    title = figure.spec()["title"]

    assert " ".join(title["subtitle"]) == ("word " * 40).strip()
    assert max(map(len, title["subtitle"])) <= 84
    assert title["frame"] == "bounds"
    assert figure.spec()["padding"]["left"] > len(name)  # a font may be wider than the one measured


def test_points_bins_and_quantiles_out_of_range_are_refused():
    run = run_of([0.1])

    with refused(InvalidInput, "points", 2, 1):
        plots.latency_ecdf(run, points=1)
    with refused(InvalidInput, "bins", 1, 0):
        plots.latency_over_time(run, bins=0)
    with refused(InvalidInput, "quantile", 1):
        plots.latency_over_time(run, quantile=1)


def test_batch_sizes_count_batches_and_not_requests():
    run = run_of([1.0] * 5, batch=[0, 0, 0, 1, 2], batch_size=[3, 3, 3, 1, 1])

    assert plots.batch_sizes(run).rows() == [("run", 1, 2, 2 / 3), ("run", 3, 1, 1 / 3)]


def test_cost_by_item_ends_with_the_total_of_each_run():
    cost = Cost(items=Local(hourly_price=0.5).bill(Usage(seconds=3600)), answered=1000)
    frame = plots.cost_by_item({"a": cost, "b": Cost(items=(), answered=0)})

    assert frame.rows() == [
        ("a", "this machine", 0.5, 500.0, "user"),
        ("a", "total", 0.5, 500.0, "user"),
        ("b", "total", 0.0, None, frame["mark"][2]),
    ]


def test_an_item_that_costs_nothing_is_called_free():
    cost = Cost(items=Local().bill(Usage(seconds=3600)), answered=1000)

    assert "free" in plots.plot_cost_by_item({"a": cost}).svg()


def test_each_tick_of_an_axis_has_a_label_of_its_own():
    # with digits left to the axis 0.12 is "$0.1": findings/vega-axis-names-two-ticks-alike.sh
    cost = Cost(items=Local(hourly_price=0.115).bill(Usage(seconds=3600)), answered=1_000_000)

    labels = re.findall(r">(\$[\d.]+)<", plots.plot_cost_by_item({"a": cost}).svg())

    assert labels[:-1] == ["$0", "$0.02", "$0.04", "$0.06", "$0.08", "$0.1", "$0.12"]


def test_without_costs_there_is_nothing_to_show():
    with refused(InvalidInput, "cost"):
        plots.cost_by_item({})


def test_service_times_have_the_middle_ninety_percent():
    profile = profile_of("m", {(4, "back to back"): 0.004, (1, "back to back"): 0.002})
    frame = plots.service_times(profile)

    assert frame.columns == ["run", "batch_size", "median", "low", "high"]
    assert [row[1:] for row in frame.rows()] == [
        (1, 0.002, pytest.approx(0.0011), pytest.approx(0.0029)),
        (4, 0.004, pytest.approx(0.0022), pytest.approx(0.0058)),
    ]


def test_service_times_are_named_by_what_differs():
    times = {(1, "back to back"): 0.002, (1, "after idle"): 0.003}

    one = plots.service_times(profile_of("m", times))
    two = plots.service_times([profile_of("m", times), profile_of("n", times)])

    assert one["run"].to_list() == ["back to back", "after idle"]
    assert two["run"][3] == "n, 1 thread, after idle"
    assert plots.plot_service_times(profile_of("m", times)).subtitle[0] == "m, 1 thread."


def test_without_profiles_there_is_nothing_to_show():
    with refused(InvalidInput, "profile"):
        plots.service_times([])


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "$0.00"), (0.1, "$0.10"), (0.0999, "$0.0999"), (1.5e-7, "$0.00000015")],
)
def test_small_amounts_keep_three_digits(amount, text):
    assert dollars(amount) == text


# ----------------------------------------------------------------------------------- who is who


def test_runs_are_named_by_what_their_labels_do_not_share():
    runs = [run_of([1], label=f"mlp:1, local, {policy}") for policy in ("a", "up to 8, 25 ms")]

    assert list(name_results(runs)) == ["a", "up to 8, 25 ms"]
    assert caption(name_results(runs)) == "mlp:1, local. Simulated."


def test_names_given_stay_beside_a_reference():
    one, other = (run_of(np.full(2000, seconds), label="mlp:1") for seconds in (1.0, 2.0))

    assert plots.latency_errors({"mine": one}, other)["run"].unique().to_list() == ["mine"]


def test_runs_alike_are_called_by_the_last_of_their_label_and_captioned_by_the_rest():
    runs = [run_of([1], label="mlp:1, local, up to 8, 25 ms")] * 2

    assert list(name_results(runs)) == ["up to 8, 25 ms", "up to 8, 25 ms #2"]
    assert caption(name_results(runs[:1])).startswith("mlp:1, local. ")


def test_runs_of_several_origins_are_told_apart_by_them():
    origins = ["predicted", "simulated", "measured: this machine"]
    runs = [run_of([1], label="mlp:1, local", origin=origin) for origin in origins]
    measured = [
        run_of([1], label="mlp:1", origin=f"measured: {place}") for place in ("AWS", "local cloud")
    ]

    assert list(name_results(runs)) == ["predicted", "simulated", "measured"]
    assert (
        caption(name_results(runs)) == "mlp:1, local. Predicted, simulated, measured: this machine."
    )
    assert list(name_results(measured)) == ["measured: AWS", "measured: local cloud"]


def test_runs_that_cannot_be_told_apart_are_numbered():
    assert list(name_results([run_of([1], label="a")] * 3)) == ["a", "a #2", "a #3"]


def test_what_is_no_run_is_refused():
    with refused(InvalidInput, "runs", None):
        plots.latency_ecdf(None)
    with refused(InvalidInput, "runs", "'a'"):
        plots.latency_ecdf(["a"])


def test_no_run_and_a_run_without_requests_are_refused():
    with refused(InvalidInput, "run"):
        plots.latency_ecdf([])
    with refused(InvalidInput, "'idle'"):
        plots.plot_latency_ecdf([run_of([1]), run_of([], label="idle")])


# ----------------------------------------------------------------------------------------- colours


def luminance(colour):
    """Relative luminance of an sRGB colour, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return sum(weight * x for weight, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ground", ["#ffffff", "#111111"])
def test_every_colour_stands_out_on_white_and_on_dark(ground):
    assert min(contrast(colour, ground) for colour in PALETTE) >= 3
    assert contrast(INK, ground) >= 4.3


def test_thirty_runs_differ_in_colour_dash_or_shape():
    marks = [
        (PALETTE[n % len(PALETTE)], DASHES[n % len(DASHES)], SHAPES[n % len(SHAPES)])
        for n in range(30)
    ]

    assert len(set(marks)) == 30
    assert len({mark[:2] for mark in marks}) == 30


def test_colour_dash_and_shape_go_with_the_name():
    names = ["a", 'b"']

    assert colour(names).to_dict()["scale"] == {"domain": names, "range": list(PALETTE[:2])}
    assert shape(names).to_dict()["scale"] == {"domain": names, "range": list(SHAPES[:2])}
    assert dash(names) == {"dash": '[[1, 0], [6, 3]][indexof(["a", "b\\""], datum.run)]'}


def test_an_inference_type_looks_the_same_whichever_others_are_there():
    assert {*SIMPLE, *COMPOSITES} == {*KINDS}
    for others in (["serverless", "lambda"], ["lambda"], list(KINDS)):
        for channel, mark in ((colour(others), PALETTE[4]), (shape(others), SHAPES[4])):
            assert channel.to_dict()["scale"]["range"][others.index("lambda")] == mark
    assert dash(["lambda"])["dash"].startswith(f"[{list(DASHES[4])}]")


def test_text_and_axes_take_the_colour_they_are_given(figure):
    drawn = figure.svg(ink="currentColor")
    colours = set(re.findall(r'(?:fill|stroke)="([^"]+)"', drawn))

    assert "currentColor" in colours
    assert colours <= {"currentColor", "none", "transparent", *PALETTE}


# ----------------------------------------------------------------------------------------- figures


def test_latencies_that_span_much_are_on_a_log_scale_unless_told_otherwise():
    wide, narrow = run_of([0.01, 1.0]), run_of([0.5, 1.0])

    def axis(run, **how):
        return plots.plot_latency_ecdf(run, **how).spec()["layer"][-1]["encoding"]["x"]

    assert axis(wide)["title"] == "Latency (ms, log scale)"
    assert axis(wide, log=False)["title"] == "Latency (ms)"
    assert axis(narrow)["title"] == "Latency (ms)"
    assert axis(narrow, log=True)["scale"]["type"] == "log"
    assert axis(run_of([0.0, 1.0]), log=True)["scale"]["domain"][0] > 0
    assert axis(run_of([1e-5, 10.0]))["axis"]["values"] == pytest.approx(
        [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10]
    )


def test_the_target_is_marked_whether_the_runs_have_it_or_it_is_given():
    own = plots.plot_latency_ecdf(run_of([0.05, 0.2], slo=0.1)).svg()
    given = plots.plot_latency_ecdf(run_of([0.05, 0.2]), slo=SLO(latency=0.15, quantile=0.9)).svg()
    mixed = plots.plot_latency_ecdf([run_of([0.1], slo=0.1), run_of([0.1], slo=0.2)]).svg()

    assert "target p95 ≤ 100 ms" in own
    assert "target p90 ≤ 150 ms" in given
    assert "target" not in mixed


def test_the_percentiles_in_words_are_those_of_the_run():
    run = gamma(600, 0.02, 1, label="a")
    figure = plots.plot_latency_ecdf(run)

    assert f"a: p50 {1000 * run.quantile(0.5):.3g} ms, p90" in figure.description
    assert "p99" not in figure.description  # too few requests above it
    assert "too few requests for a percentile" in plots.plot_latency_ecdf(run_of([1.0])).description


def test_failures_are_told_in_the_subtitle_and_the_words():
    figure = plots.plot_latency_ecdf([run_of([0.1, NAN], label="a"), run_of([0.1], label="b")])

    assert figure.subtitle[-1] == "Failed, so the curve ends below 100 %: a 1 of 2."
    assert "a 1 of 2" in figure.description


def test_a_figure_is_small_however_many_requests_there_were():
    figure = plots.plot_latency_ecdf([gamma(50_000, 0.1, seed) for seed in range(2)])

    assert figure.data.height <= 400
    assert len(json.dumps(figure.spec())) < 60_000


def test_vega_lite_has_nothing_to_warn_about(figure, capfd):
    import vl_convert

    oldest, *_, newest = vl_convert.get_vegalite_versions()
    for version in (oldest, newest):
        vl_convert.vegalite_to_svg(figure.spec(), vl_version=version, show_warnings=True)

    told = capfd.readouterr().err.splitlines()
    assert [line for line in told if "fork of the same data source" not in line] == []


def test_no_filter_compares_what_may_be_missing(figure):
    # to Vega what is missing is 0: findings/vega-counts-the-missing-as-fast.sh
    spec = json.dumps(figure.spec())
    compared = set(re.findall(r"\"filter\": \"datum\.(\w+) [<>]", spec))

    assert not re.search(r"\"filter\": {", spec)  # a predicate of Vega-Lite's compares, too
    assert all(figure.data[name].is_finite().all() for name in compared)


WITHIN_SCRIPTS = re.compile("(?<=<script).*?</script>", re.DOTALL)
SIGNS = {
    "svg": b"<svg ",
    "png": b"\x89PNG",
    "pdf": b"%PDF",
    "html": b"<!DOCTYPE html>",
    "json": b"{",
}


@pytest.mark.parametrize("suffix", SIGNS)
def test_a_figure_is_saved_as_its_name_says(figure, suffix, tmp_path):
    path = figure.save(tmp_path / f"figure.{suffix}")

    content = path.read_bytes()
    assert content.startswith(SIGNS[suffix])
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    if suffix in ("svg", "html"):
        assert not LOADING.search(WITHIN_SCRIPTS.sub("", content.decode()))


def test_another_ending_is_refused_with_those_that_work(figures, tmp_path):
    with refused(InvalidInput, "'figure.gif'", ".png", ".svg", ".pdf"):
        figures["ecdf"].save(tmp_path / "figure.gif")


def test_a_folder_that_is_not_there_is_a_clear_error(figures, tmp_path):
    with refused(StorageError, tmp_path / "missing" / "figure.svg", "No such file or directory"):
        figures["ecdf"].save(tmp_path / "missing" / "figure.svg")


def test_the_page_of_a_figure_shows_names_as_text():
    run = run_of([1.0], label="</script><script>alert(1)</script>")
    figure = plots.plot_latency_ecdf(run)

    assert "</script><script>alert" not in figure.html()
    assert "<script>" not in figure.svg()


def test_an_svg_is_one_image_with_a_text(figure):
    drawn = figure.svg()

    assert drawn.startswith(f'<svg role="img" aria-label="{figure.title}. ')
    assert figure.description
    assert drawn.count("role=") == drawn.count("aria-") == 1


def test_a_notebook_gets_the_version_that_jupyterlab_knows_and_a_picture(figure):
    bundle, metadata = figure._repr_mimebundle_()

    spec = bundle["application/vnd.vegalite.v5+json"]
    assert spec["$schema"].endswith("/vega-lite/v5.json")
    assert spec["config"]["background"] == "transparent"
    assert spec["config"]["axis"]["labelColor"] == "currentColor"
    assert bundle["image/svg+xml"].startswith("<svg")
    assert bundle["text/plain"].startswith(f"<Figure '{figure.title}'")
    assert metadata["application/vnd.vegalite.v5+json"]["embed_options"]["renderer"] == "svg"
    json.dumps(bundle, allow_nan=False)


def test_altairs_settings_neither_change_nor_matter(figures):
    spec = figures["ecdf"].spec()

    with alt.data_transformers.enable("json"), alt.theme.enable("dark"):
        before = alt.renderers.active, alt.theme.active, alt.data_transformers.active

        assert figures["ecdf"].spec() == spec
        assert (alt.renderers.active, alt.theme.active, alt.data_transformers.active) == before


def test_no_plot_is_named_like_a_module():
    modules = {"batches", "costs", "figure", "latency", "series", "service", "theme"}

    assert not modules & set(plots.__all__)
    assert plots.__all__ == sorted(plots.__all__)
