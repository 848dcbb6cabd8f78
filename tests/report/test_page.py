"""The report: what it says, that it stands alone, and that nothing gets in which is not text."""

import math
import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from tests.refused import refused
from workbench.batching.timer import BatchPolicy
from workbench.comparison import compare
from workbench.deployment import Local
from workbench.errors import InvalidInput, StorageError
from workbench.formatting import NO_FORMULA, Table, dollars
from workbench.measuring.profile import QUANTILE_LEVELS, Profile
from workbench.pricing.cost import Cost
from workbench.pricing.usage import Usage
from workbench.queueing import mm1
from workbench.report.conclusion import conclude, recommend
from workbench.report.runs import report_html, write_report
from workbench.run import SLO, Run, load_run
from workbench.run.costs import cost
from workbench.scaling.reactive import TargetTracking
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.patterns import poisson

CAPTION = f'<caption class="{NO_FORMULA}">'
HOSTILE = "<script>alert('x')</script>&\"quoted\""
LOADING = re.compile(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//|@import|url\(\s*["']?\s*http""")


UNBATCHED = BatchPolicy()
BATCHING = BatchPolicy(max_size=8, max_wait=0.025)


def run_of(mean, *, policy=UNBATCHED, seed=1, count=1000, failed=0, **facts):
    random = np.random.default_rng(seed)
    scheduled = 2.0 * np.arange(count)
    finished = scheduled + random.gamma(4, mean / 4, count)
    finished[random.permutation(count)[:failed]] = math.nan
    return Run.from_arrays(
        scheduled=scheduled,
        finished=finished,
        origin=facts.pop("origin", "measured: this machine"),
        facts={
            "label": f"mlp:1, local, 1 worker, {policy.label}",
            "model": {"name": "mlp:1", "sha256": "ab" * 32},
            "deployment": Local(hourly_price=0.36).to_dict(),
            "policy": policy.to_dict(),
            "trace": {"name": "constant(rate=100)", "requests": count, "duration": 10.0},
            "slo": {"latency": 0.1, "quantile": 0.95},
            "environment": {"cpu": "a processor", "cores": 2, "versions": {"numpy": "2"}},
            "created": "2026-01-02T03:04:05+00:00",
            "lag": {"p50": 0.00001, "p99": 0.0002, "max": 0.003},
            **facts,
        },
    )


@pytest.fixture(scope="module")
def runs():
    return [run_of(0.4), run_of(0.02, policy=BATCHING, seed=2)]


@pytest.fixture(scope="module")
def costs(runs):
    return [cost(run) for run in runs]


@pytest.fixture(scope="module")
def page(runs, costs):
    row = {"batch_size": 1, "threads": 1, "state": "back to back", "repeats": 30}
    times = {"median": 0.002, "low": 0.0019, "high": 0.0021, "mean": 0.002}
    rows = [row | times | {"quantiles": [0.001 + 0.002 * level for level in QUANTILE_LEVELS]}]
    profile = Profile(pl.DataFrame(rows), {"model": {"name": "mlp:1"}})
    return report_html(runs, title="A report", costs=costs, profiles=profile)


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text; elements must nest."""

    VOID = ("meta", "br", "!doctype")

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


# ----------------------------------------------------------------------------------------- finding


def test_two_runs_apart_are_a_change_at_a_price():
    slow, fast = run_of(0.4), run_of(0.02, policy=BATCHING, seed=2)
    same = Cost(items=Local(hourly_price=0.36).bill(Usage(seconds=10)), answered=1000)
    dear = Cost(items=Local(hourly_price=0.36).bill(Usage(seconds=20)), answered=1000)

    assert re.fullmatch(
        r'p95 fell from \d{3} ms \(\d+ to \d+ ms\) for "no batching" to '
        r'[\d.]+ ms \([\d.]+ to [\d.]+ ms\) for "up to 8, 25 ms", '
        r"at the same price \(\$1.00 a million requests\)\. "
        r'Target p95 ≤ 100 ms: met by "up to 8, 25 ms"; missed by "no batching"\.',
        conclude([slow, fast], costs=[same, same]),
    )
    assert conclude([fast, slow]).startswith("p95 rose from ")
    assert "; a million requests cost $1.00 and $2.00." in conclude(
        [slow, fast], costs=[same, dear]
    )


def test_two_runs_whose_intervals_meet_do_not_differ():
    alike = [run_of(0.02, seed=1), run_of(0.0201, policy=BATCHING, seed=2)]

    assert conclude(alike).startswith("p95 does not differ beyond its 95 % intervals: ")


def test_a_prediction_is_not_called_a_change():
    runs = [run_of(0.02), run_of(0.4, origin="simulated")]

    assert re.match('p95 is .* for "measured", but .* for "simulated"', conclude(runs))


def test_short_runs_say_that_a_difference_may_be_chance():
    runs = [run_of(0.02, count=69), run_of(0.4, count=69, policy=BATCHING)]

    told = conclude(runs)

    assert told.startswith("p50 is ")  # the others have too few requests above them
    assert (
        "too short to tell whether that is chance "
        '("no batching" takes 31 requests more; "up to 8, 25 ms" takes 31 requests more).'
    ) in told
    assert 'cannot tell for "no batching" (200 requests would)' in told


def test_ten_requests_tell_nothing():
    assert conclude(run_of(0.02, count=10)).startswith("There are too few requests for")


def test_of_several_runs_the_lowest_is_named_and_who_cannot_be_told_from_it():
    policies = [BatchPolicy(max_size=size) for size in (1, 2, 3)]
    runs = [run_of(m, policy=p, seed=2) for m, p in zip((0.4, 0.02, 0.0201), policies, strict=True)]

    assert re.search(
        r'Of 3 runs, the lowest p95 is [\d.]+ ms \(.*\) for "up to 2, 0 ms", which may be '
        r'chance beside "up to 3, 0 ms": the 95 % intervals overlap; '
        r'the highest is \d+ ms \(.*\) for "no batching"\.',
        conclude(runs),
    )


def test_of_runs_that_are_all_apart_none_is_said_to_be_close():
    policies = [BatchPolicy(max_size=size) for size in (1, 2, 3)]
    runs = [run_of(m, policy=p) for m, p in zip((0.4, 0.02, 0.1), policies, strict=True)]

    assert re.search(r'is [\d.]+ ms \([^)]*\) for "up to 2, 0 ms"; the highest', conclude(runs))


def test_an_interval_that_reaches_into_the_failed_requests_has_no_end():
    assert re.match(r"p95 is [\d.]+ s \(\d+ ms to ∞\)", conclude(run_of(0.4, failed=48)))


def test_what_cannot_be_relied_on_is_said_first():
    runs = [run_of(0.02, valid=False), run_of(0.02, policy=BATCHING, complete=False, failed=100)]
    told = conclude(runs)

    assert told.startswith(
        'Invalid: "no batching" (load was off schedule) and "up to 8, 25 ms" (stopped early). '
    )
    assert 'to infinite for "up to 8, 25 ms"' in told
    assert told.endswith('infinitely late: 100 of 1,000 for "up to 8, 25 ms".')


def test_runs_without_a_target_are_not_judged_by_one():
    assert "Target" not in conclude([run_of(0.02, slo=None)])


def test_no_price_is_told_of_runs_that_cost_nothing(runs):
    free = Cost(items=Local(hourly_price=0).bill(Usage(seconds=10)), answered=10)

    assert "million" not in conclude(runs, costs=[free, free])
    assert "million" not in conclude(runs, costs=[free, None])


# -------------------------------------------------------------------------------------------- page


def test_the_answer_comes_first_and_the_provenance_last(page, costs):
    order = [
        "<p>Take &quot;up to 8, 25 ms&quot;: it meets p95 ≤ 100 ms, the only one that surely does",
        f'<p class="amount">{dollars(costs[1].per_month)} a month (measured: this machine)</p>',
        "<h3>Share of requests answered within a latency</h3>",
        f"{CAPTION}Target p95 ≤ 100 ms",
        "<h2>Details</h2>",
        f"{CAPTION}Figures of each run",
        f"{CAPTION}What was billed",
        f"{CAPTION}Service times",
        "<h2>Where this comes from</h2>",
        f"{CAPTION}What differs",
        f"{CAPTION}Can the figures be relied on?",
        "How the figures are defined",
        "All facts of no batching",
    ]

    assert [page.count(each) for each in order] == [1] * len(order)
    assert sorted(order, key=page.index) == order


def test_the_verdict_and_the_price_of_each_run_stand_in_one_row(page, costs):
    table = page.split(f"{CAPTION}Target")[1].split("</table>")[0]
    rows = [re.findall("<t[dh][^>]*>(.*?)</t", row) for row in table.split("<tr>")[2:]]

    assert [row[:2] for row in rows] == [["no batching", "missed"], ["up to 8, 25 ms", "met"]]
    assert [row[2:4] for row in rows] == [
        [dollars(cost.per_month), dollars(cost.per_million)] for cost in costs
    ]


def test_a_report_prices_runs_by_itself_where_it_can(runs, costs):
    assert report_html(runs) == report_html(runs, costs=costs)


@pytest.mark.parametrize(
    ("mean", "facts", "said"),
    [
        (0.02, {}, "This run meets p95 ≤ 100 ms: p95 is "),
        (0.4, {}, "This run misses p95 ≤ 100 ms: p95 is "),
        (0.02, {"count": 150}, "Whether p95 ≤ 100 ms is met is not known, 200 requests would"),
        (0.02, {"valid": False}, "nothing of p95 ≤ 100 ms, because load was off schedule: p95"),
        (0.02, {"slo": None}, "p95 is "),
    ],
)
def test_one_run_is_judged_in_a_sentence(mean, facts, said):
    sentence, name = recommend(compare(run_of(mean, **facts)))

    assert said in sentence
    assert name


def test_of_runs_that_meet_the_target_the_cheapest_is_recommended():
    dear, cheap = Local(hourly_price=2.0).to_dict(), Local(hourly_price=1.0).to_dict()
    runs = {
        "dear": run_of(0.01, deployment=dear),
        "cheap": run_of(0.02, deployment=cheap),
        "free but late": run_of(0.4, deployment=Local(hourly_price=0.1).to_dict()),
    }

    sentence, name = recommend(compare(runs))

    assert name == "cheap"
    assert 'Take "cheap": it meets p95 ≤ 100 ms, the cheapest of 2 that do' in sentence


def test_of_runs_without_prices_the_fastest_is_recommended():
    sentence, name = recommend(compare({"slow": run_of(0.03), "fast": run_of(0.01)}))

    assert name == "fast"
    assert "the fastest of 2 that do" in sentence


def test_simulations_too_short_for_a_percentile_are_recommended_by_their_repetitions():
    trace, times = poisson(rate=5, duration=60, seed=1), ServiceTimes.affine(0.01, 0.01, largest=1)
    runs = {
        name: simulate(trace, UNBATCHED, Local(workers=workers), times, slo=SLO(0.9, quantile=0.99))
        for name, workers in (("one", 1), ("two", 2))
    }

    sentence, _ = recommend(compare(runs))

    assert re.match('Take "(one|two)": it meets p99 ≤ 900 ms, the .* of 2 that do', sentence)


def test_where_no_run_surely_meets_the_target_the_nearest_is_named():
    sentence, name = recommend(compare({"a": run_of(0.4), "b": run_of(0.02, count=150)}))

    assert sentence.startswith('None surely meets p95 ≤ 100 ms; the nearest is "b" with 100 %')
    assert "200 requests would" in sentence
    assert name == "b"


def test_what_differs_between_runs_stands_apart_from_what_is_shared(page):
    differing, shared = re.findall("<table>.*?</table>", page.split("Where this comes from")[1])[:2]

    assert "batching" in differing
    assert "mlp:1" not in differing
    for fact in ("mlp:1 (sha256 abababababab)", "local, 1 worker", "a processor", "p95 ≤ 100 ms"):
        assert fact in shared
    assert "constant(rate=100): 1,000 requests in 10 s" in shared


def test_of_deployments_and_scaling_only_the_settings_that_differ_are_told(runs):
    policies = [TargetTracking(target=share, most=4).to_dict() for share in (0.5, 0.7)]
    made = [runs[0].amend(scaling=each) for each in policies]
    differing = report_html(made).split(f"{CAPTION}What differs")[1].split("</table>")[0]

    assert "target tracking (target 0.5)" in differing
    assert "target tracking (target 0.7)" in differing
    assert "cooldown" not in differing


def test_nothing_is_said_to_differ_between_runs_made_alike(runs):
    assert "What differs" not in report_html(runs[:1] * 2)


def test_nothing_is_said_to_be_shared_by_runs_that_share_nothing():
    runs = [Run.from_arrays(scheduled=[0], finished=[1], origin=o) for o in ("a", "b")]

    assert "The same in every run" not in report_html(runs)


def test_the_figures_are_those_of_the_runs(page, runs):
    results = page.split("<h2>Details</h2>")[1]
    low, high = (1000 * seconds for seconds in runs[0].interval(0.95))

    assert f"{1000 * runs[0].quantile(0.95):.3g} ms ({low:.3g} to {high:.3g} ms)</td>" in results
    assert f"{100 * runs[0].attainment():.3g} %</td>" in results
    assert results.count("0 (0 %)</td>") == 2


def test_figures_that_cannot_be_told_are_called_so():
    short = report_html(run_of(0.02, count=150))
    broken = report_html(run_of(0.02, failed=200))

    assert short.count("too few requests to tell</td>") == 3  # p95, twice, and p99
    assert broken.count("<td>infinite</td>") == 4
    assert "200 (20 %)</td>" in broken


def test_almost_all_is_not_all():
    assert "99.99 %" in report_html(run_of(0.0001, count=60_000, failed=1))


def test_cold_starts_and_accuracy_are_shown_where_there_are_any(page):
    run = Run.from_arrays(scheduled=[0] * 4, finished=[1] * 4, cold=[1, 0, 0, 0], correct=[1] * 4)
    shown = report_html(run)

    assert '<th scope="row">cold starts</th><td>1<' in shown
    assert '<th scope="row">rows predicted right</th><td>100 %<' in shown
    assert "cold starts" not in page
    assert "predicted right" not in page


def test_what_the_fleet_s_size_followed_is_told_but_not_each_count_before():
    page = report_html(run_of(0.02, scaling={"kind": "predictive", "history": [7.5] * 1440}))

    assert "history 1,440 values, kind predictive" in page


def test_a_record_that_knows_little_shows_what_it_knows():
    facts = {"model": {"name": "mlp:1"}, "policy": {"kind": "steered"}, "trace": {"name": "mine"}}
    shown = report_html(Run.from_arrays(scheduled=[0, 1], finished=[1, 2], facts=facts))

    for said in ("mlp:1 (sha256 unknown)", "kind steered", "mine"):
        assert f"<td>{said}</td>" in shown
    assert '<th scope="row">deployment</th>' not in shown


def test_invalid_runs_and_warnings_are_marked_in_words():
    page = report_html(run_of(0.02, valid=False, complete=False, warnings=["It was late."]))

    assert "NO: its load was off schedule" in page
    assert "NO: it was stopped early" in page
    assert "It was late.</li>" in page


def test_without_costs_and_profiles_there_are_no_such_tables(runs):
    page = report_html(runs, costs=())

    assert "What was billed" not in page
    assert "Service times" not in page
    assert "No warnings." in page


def test_a_run_that_answered_nothing_has_a_report():
    run = run_of(0.02, failed=1000)

    assert "1,000 (100 %)" in report_html(run, costs=[cost(run)])


def test_a_saved_run_gives_the_same_report(runs, page, tmp_path):
    loaded = [load_run(run.save(tmp_path / str(number))) for number, run in enumerate(runs)]

    assert report_html(loaded) == report_html(runs)


# ---------------------------------------------------------------------------------- standing alone


def test_the_page_loads_nothing_and_runs_nothing(page):
    elements = Page(page)

    assert not LOADING.search(page)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in elements.elements}
    assert "default-src 'none'" in page
    assert len(page.encode()) < 200_000


def test_what_comes_from_outside_stays_text():
    facts = {
        "model": {"name": HOSTILE},
        "origin": HOSTILE,
        "warnings": [HOSTILE],
        "created": HOSTILE,
    }
    runs = [run_of(0.02, label=HOSTILE, **facts), run_of(0.4, label=f"other {HOSTILE}", **facts)]
    bills = [
        Cost(items=Local(hourly_price=1).bill(Usage(seconds=1)), answered=1, notes=(HOSTILE,))
    ] * 2

    page = Page(report_html(runs, title=HOSTILE, costs=bills))

    assert "script" not in {tag for tag, _ in page.elements}
    assert page.words.count(HOSTILE) >= 5
    assert not [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]


def test_every_table_has_a_caption_and_scopes_and_every_chart_a_text(page):
    elements = Page(page)

    assert (
        len(elements.named("table")) == len(elements.named("caption")) == page.count("<table><cap")
    )
    regions = [each["aria-label"] for each in elements.named("div") if each.get("role") == "region"]
    assert len(set(regions)) == len(regions) == len(elements.named("table"))
    assert all(each.get("scope") in ("col", "row") for each in elements.named("th"))
    charts = elements.named("svg")
    assert len(charts) == 5
    assert all(each["role"] == "img" and len(each["aria-label"]) > 40 for each in charts)


def test_identifiers_are_used_once_and_references_lead_to_one(page):
    identifiers = [each["id"] for _, each in Page(page).elements if "id" in each]

    assert len(set(identifiers)) == len(identifiers)
    assert set(re.findall(r"url\(#(.*?)\)", page)) <= set(identifiers)


def test_the_page_has_dark_and_printed_colours_that_can_be_read(page):
    grounds = re.findall(r"--ground: #(\w+); --ink: #(\w+); --soft: #(\w+)", page)

    assert "@media (prefers-color-scheme: dark)" in page
    assert page.index("@media print") > page.index("prefers-color-scheme")
    assert len(grounds) == 3
    for ground, *inks in grounds:
        assert all(contrast(ink, ground) >= 7 for ink in inks)


def contrast(one, other):
    """Contrast of two greys in short or long hexadecimal, WCAG 2.2."""
    levels = [
        int(colour[:1] * 2 if len(colour) == 3 else colour[:2], 16) / 255 for colour in (one, other)
    ]
    low, high = sorted(((x + 0.055) / 1.055) ** 2.4 if x > 0.04 else x / 12.92 for x in levels)
    return (high + 0.05) / (low + 0.05)


# ------------------------------------------------------------------------------------------ writing


def test_a_report_is_written_whole(runs, tmp_path):
    path = write_report(runs, tmp_path / "report.html", title="T")

    assert path.read_text() == report_html(runs, title="T")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_report_that_cannot_be_written_is_a_clear_error(runs, tmp_path):
    (tmp_path / "file").touch()

    with refused(StorageError, tmp_path / "missing" / "report.html", "No such file or directory"):
        write_report(runs, tmp_path / "missing" / "report.html")
    with refused(StorageError, tmp_path / "file" / "report.html", "Not a directory"):
        write_report(runs, tmp_path / "file" / "report.html")


def test_costs_have_to_be_those_of_the_runs(runs, costs):
    with refused(InvalidInput, "2 runs", "1 costs"):
        report_html(runs, costs=costs[:1])
    with refused(InvalidInput, "costs", 5):
        report_html(runs, costs=[5, 5])


def test_what_has_no_place_in_a_report_is_refused(runs):
    with refused(InvalidInput, "title", 5):
        report_html(runs, title=5)
    with refused(InvalidInput, "profiles", 5):
        report_html(runs, profiles=[5])
    with refused(InvalidInput, "runs", "Prediction"):
        report_html(mm1(rate=5, service=0.1))


def test_a_report_on_nothing_is_refused():
    with refused(InvalidInput, "run"):
        report_html([])


# ------------------------------------------------------------------------------------------- tables


def test_a_table_shows_figures_to_the_right_with_four_digits():
    row = ["a", 12345, 1234.56, 0.123456, math.nan, math.inf, -math.inf, None, True, False]
    table = Table([str(n) for n in range(10)], [row], "T").html()

    cells = re.findall("<td(.*?)>(.*?)</td>", table)
    right = ' style="text-align:right"'
    assert cells == [
        *((right, text) for text in ("12,345", "1,235", "0.1235", "-", "∞", "-∞")),
        *(("", text) for text in ("-", "yes", "no")),
    ]


def test_a_long_table_says_how_much_it_leaves_out():
    table = Table(["n"], [[n] for n in range(1200)], "T").html(limit=3)

    assert ">T (the first 3 of 1,200 rows)</caption>" in table
    assert table.count('scope="row"') == 3


def test_a_table_shows_markup_as_text():
    table = Table([HOSTILE], [[HOSTILE, HOSTILE]], HOSTILE).html()

    assert Page(table).words == [HOSTILE] * 4


def test_a_cell_without_text_heads_no_row():
    page = Table(["", "found"], [["ok", 1], ["", 2]]).html()

    assert page.count('<th scope="row">') == 1
    assert "<tr><td></td><td" in page
