"""Figures with sliders and no kernel: each number is a simulation's, and each page finds it."""

import base64
import itertools
import json
import math
import re
from functools import cache
from pathlib import Path

import explorable
import explorable_tables as tables
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

import workbench as wb
from workbench.formatting import dollars, duration, percent
from workbench.planner.candidates import dollars_of, usage_of
from workbench.simulator import serve
from workbench.widgets import whatif

PAGES = Path(explorable.__file__).with_name("explorables")
NAMES = ("cold-starts", "batching", "break-even", "hybrid", "selection")
SPREAD = np.array([0.7, 0.9, 1.0, 1.15, 2.0])
SINGLE = wb.BatchPolicy()


@pytest.fixture(scope="module")
def drawn(registry):
    """The table of each explorable, as the site has it."""
    return {name: explorable.load_table(name, registry.path) for name in NAMES}


def points(table):
    """The values of the dials by name, and the answer, at each place."""
    names = [dial["name"] for dial in table["dials"]]
    grid = itertools.product(*(dial["values"] for dial in table["dials"]))
    for values, answer in zip(grid, table["answers"], strict=True):
        yield dict(zip(names, values, strict=True)), answer


def digits(value):
    """A figure as a table has it, with three digits."""
    return float(f"{value:.3g}")


def bill(outcome, on):
    return dollars_of(on, usage_of(outcome, on), wb.PriceSheet.load())


def check_curve(answer, setup, times, *, cold_start, target):
    """Compare words and curve with batches that were simulated without a run's rows."""
    outcome = serve(*setup, times, cold_start=cold_start, seed=1)
    late = np.sort(np.nan_to_num(outcome.latencies, nan=np.inf))
    words, missed, figures = answer
    in_time = np.mean(late <= target * (1 + 1e-9))
    paid = bill(outcome, setup[2])
    assert words.startswith(f"Simulated: p95 {duration(late[math.ceil(0.95 * len(late)) - 1])}. ")
    assert f" {percent(in_time)} in time. " in words
    assert f" {dollars(1e6 * paid / np.isfinite(late).sum())} a million requests. " in words
    assert missed == (" missed: " in words)
    ranks = [max(math.ceil(share * len(late) - 1e-9), 1) - 1 for share in tables.SHARES]
    np.testing.assert_allclose(figures, 1000 * late[ranks], rtol=0.006)
    return outcome


def test_cold_starts_are_what_the_simulator_says_at_every_place(drawn):
    times = wb.ServiceTimes({1: 0.05 * SPREAD})
    for values, answer in points(drawn["cold-starts"]):
        rate = values["rate"] / 60
        trace = wb.poisson(rate=rate, duration=3000 / rate, seed=1)
        on = wb.Serverless(memory_mb=2048, max_concurrency=50, keep_alive=60 * values["keep_alive"])
        outcome = check_curve(
            answer, (trace, SINGLE, on), times, cold_start=values["cold_start"], target=0.25
        )
        assert f" {percent(outcome.cold.mean())} of the requests wait for a cold " in answer[0]


def test_batching_is_what_the_simulator_says_at_every_place(drawn):
    times = wb.ServiceTimes({size: (0.03 + 0.004 * size) * SPREAD for size in range(1, 33)})
    on = wb.Lambda(memory_mb=1769, max_concurrency=500)
    for values, answer in points(drawn["batching"]):
        trace = wb.poisson(rate=values["rate"], duration=3000 / values["rate"], seed=1)
        policy = wb.BatchPolicy(max_size=values["max_size"], max_wait=values["max_wait"])
        outcome = check_curve(answer, (trace, policy, on), times, cold_start=0.5, target=0.15)
        size = len(trace) / len(outcome.batches.init)
        assert float(answer[0].rpartition(": ")[2].rstrip(".")) == pytest.approx(size, rel=0.006)


def month_of(on, trace, seconds, target):
    """Dollars a month of one vCPU's work on an inference type, None where it misses the target."""
    outcome = serve(trace, SINGLE, on, wb.ServiceTimes({1: seconds}), cold_start=1.0, seed=1)
    late = np.sort(np.nan_to_num(outcome.latencies, nan=np.inf))
    if late[math.ceil(0.95 * len(late)) - 1] > target:
        return None
    fixed = 0.115 * on.count if on.kind == "real-time" else 0.0
    return 730 * (fixed or bill(outcome, on) * 3600 / trace.duration)


def test_break_even_is_what_the_simulator_says_at_every_place(drawn):
    for values, (words, missed, figures) in points(drawn["break-even"]):
        trace = wb.poisson(rate=values["rate"], duration=3000 / values["rate"], seed=1)
        asked = trace, values["seconds"], values["target"]
        counts = (
            wb.RealTime(instance_type="ml.m5.large", count=count, workers=2)
            for count in range(1, 40)
        )
        real_time = (month_of(on, *asked) for on in counts)
        found = {
            "real-time": None
            if values["seconds"] > values["target"]
            else next(each for each in real_time if each is not None),
            "serverless": month_of(wb.Serverless(memory_mb=2048, max_concurrency=200), *asked),
            "Lambda": month_of(wb.Lambda(memory_mb=1769, max_concurrency=1000), *asked),
        }
        for (kind, cost), drawn_at in zip(found.items(), figures, strict=True):
            said = "misses it" if cost is None else f"{dollars(cost)} a month"
            assert f"{kind} {said}" in words
            assert drawn_at == (cost and pytest.approx(cost, rel=0.006))
        met = {kind: cost for kind, cost in found.items() if cost is not None}
        assert missed == (not met)
        assert words.endswith(f"is {min(met, key=met.get)}." if met else "None meets it.")


def test_hybrids_are_what_the_simulator_says_at_every_place(drawn):
    functions = wb.Lambda(memory_mb=1769, max_concurrency=1000)
    times = wb.ServiceTimes({1: 0.05})
    slo, terms = wb.SLO(latency=0.2), {"cold_start": 0.5, "boot": 180.0, "seed": 1}
    for values, (words, _, (instances, called, together)) in points(drawn["hybrid"]):
        count, burst = values["count"], values["burst"]
        trace = bursts_of(values["rate"], burst)
        on, service = functions, times
        if count:
            base = wb.RealTime(instance_type="ml.m5.large", count=count, workers=2)
            on = wb.Hybrid(base=base, overflow=functions, spill=wb.InFlight(2))
            service = times, times
        run = wb.simulate(trace, SINGLE, on, service, slo=slo, **terms)
        late = np.sort(run.frame["latency"].fill_nan(math.inf).to_numpy())
        assert f"p95 {duration(late[math.ceil(0.95 * len(late)) - 1])}. " in words
        assert f" {percent(np.mean(late <= 0.2))} in time. " in words
        spilled = (run.frame["place"] == 1).mean() if count else 1.0
        assert f" Functions answer {percent(spilled)}. " in words
        cost = wb.cost(run)
        hour = cost.per_month / 730
        calls = math.fsum(item.dollars for item in cost.items if "lambda" in item.what)
        number = count_alone(trace, times)
        alone = f" {dollars(hour)} an hour; instances alone meet it from {number} on, for "
        either = (dollars(0.115 * number * nearly) for nearly in (1 - 1e-9, 1 + 1e-9))  # a half
        assert words.endswith(tuple(f"{alone}{price}." for price in either))
        assert together == digits(hour)
        assert instances == digits(0.115 * count)
        assert called == digits(hour * calls / cost.total)


@cache
def bursts_of(rate, burst):
    return wb.bursty(rate=rate, burst=burst, dwell=(15, 5), duration=400, seed=1)


@cache
def count_alone(trace, times):
    """How many instances meet 200 ms in p95 without functions: one is tried after the other."""

    def is_late(count):
        on = wb.RealTime(instance_type="ml.m5.large", count=count, workers=2)
        late = np.sort(serve(trace, SINGLE, on, times, seed=1).latencies)
        return late[math.ceil(0.95 * len(late)) - 1] > 0.2

    return 1 + sum(1 for _ in itertools.takewhile(is_late, itertools.count(1)))


def test_the_model_that_is_first_simulates_as_said_at_every_place(drawn, registry):
    known = {}
    for values, (words, missed, heights) in points(drawn["selection"]):
        assert not missed
        group, kind, latency, cost = re.match(
            r"Simulated\. ([\w-]+):1 on ([\w-]+) .* p95 (.*?), (\$.*?) per million", words
        ).groups()
        asked = group, kind, values["rate"]
        if asked not in known:
            on = {
                "lambda": wb.Lambda(memory_mb=1769, max_concurrency=200),
                "real-time": wb.RealTime(instance_type="ml.m5.large", workers=2),
            }[kind]
            trace = wb.poisson(rate=values["rate"], duration=3000 / values["rate"], seed=1)
            times = wb.ServiceTimes({1: tables.MODELS[group]})
            run = wb.Experiment(registry[group], on, trace).simulate(times)
            monthly = wb.cost(run).per_month / (trace.rate * 730 * 3600)
            known[asked] = duration(run.quantile(0.95)), f"${1e6 * monthly:.3g}"
        assert (latency, cost) == known[asked]
        score = re.search(r"score ([\d.]+)", words)[1]
        assert heights[list(tables.MODELS).index(group)] == float(score)


@pytest.mark.parametrize("name", NAMES)
def test_a_table_is_small_and_its_page_quotes_it(drawn, name):
    table = drawn[name]
    assert len(json.dumps(table, separators=(",", ":"))) <= 200_000
    quoted = re.findall(r"^> (.+)$", (PAGES / f"{name}.md").read_text(), re.MULTILINE)

    assert quoted
    assert set(quoted) <= {words for words, _, _ in table["answers"]}


def test_the_code_of_the_pages_runs(capsys):
    for name in NAMES:
        for code in re.findall(
            r"```python\n(.*?)```", (PAGES / f"{name}.md").read_text(), re.DOTALL
        ):
            exec(code, {})  # noqa: S102 - our own pages
    assert len(capsys.readouterr().out.splitlines()) == 3


# ------------------------------------------------------------------------------------- on a page

ASK_ALL = """async ([source, table, grid]) => {
  const { default: { fromTable } } = await import(source);
  const model = fromTable(table);
  const answers = [];
  model.on("msg:custom", (answer) => answers.push(answer));
  grid.forEach((values, number) => model.send({ number, values }));
  await new Promise(setTimeout);
  return answers;
}"""


@pytest.fixture
def open_figure(page, drawn, tmp_path):
    """A function that opens a figure from a file, as a page of the site has it."""

    def show(name):
        figure = explorable.write_html(name, drawn[name])
        html = (
            f'<!doctype html><html lang="en"><title>{name}</title><main><h1>A</h1>{figure}</main>'
        )
        (tmp_path / "page.html").write_text(html)
        page.goto((tmp_path / "page.html").as_uri())
        expect(page.get_by_role("status")).to_have_text(re.compile("^Simulated"))
        return page

    return show


def test_a_page_finds_the_answer_of_every_place(page, drawn):
    code = base64.b64encode(Path(whatif.__file__).with_suffix(".js").read_bytes()).decode()
    for table in drawn.values():
        grid, answers = zip(*points(table), strict=True)
        asked = [f"data:text/javascript;base64,{code}", table, grid]

        found = page.evaluate(ASK_ALL, asked)

        assert [each["number"] for each in found] == list(range(len(grid)))
        assert [[each["words"], each["missed"]] for each in found] == [a[:2] for a in answers]
        if table["along"]:
            at = next(list(d["values"]) for d in table["dials"] if d["name"] == table["along"])
            for values, answer, each in zip(grid, answers, found, strict=True):
                here = at.index(values[table["along"]])
                assert [line["y"][here] for line in each["lines"]] == answer[2]
                assert each["guide"] == [values[table["along"]], None]
        else:
            assert [each["lines"][0]["x"] for each in found] == [a[2] for a in answers]


def test_sliders_are_turned_by_keyboard_and_tell_what_the_table_has(open_figure, drawn):
    page = open_figure("hybrid")
    told, canvas = page.get_by_role("status"), page.locator("canvas")
    answers = {tuple(values.values()): answer[0] for values, answer in points(drawn["hybrid"])}
    expect(told).to_have_text(answers[60, 4, 1])
    first = canvas.evaluate("canvas => canvas.toDataURL()")

    page.get_by_role("slider", name="Instances").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Home")

    expect(told).to_have_text(answers[60, 1, 7])
    expect(page.get_by_role("slider", name="Bursts")).to_have_attribute("aria-valuetext", "1 times")
    expect(canvas).to_have_attribute("aria-label", re.compile(re.escape(answers[60, 1, 7])))
    assert canvas.evaluate("canvas => canvas.toDataURL()") != first
    assert Axe().run(page).violations_count == 0


def test_a_value_that_was_not_simulated_is_refused_beside_its_control(open_figure, drawn):
    page = open_figure("cold-starts")
    words = page.get_by_role("status").text_content()
    page.get_by_label("Cold start, s", exact=True).fill("3")

    expect(page.get_by_role("alert").filter(has_text="can be")).to_have_text(
        "Cold start can be 0.1, 0.25, 0.5, 1, 2, 5 s here."
    )
    expect(page.get_by_role("status")).to_have_text(f"As it was before: {words}")
    page.get_by_label("Cold start, s", exact=True).fill("2")
    answers = {tuple(values.values()): answer[0] for values, answer in points(drawn["cold-starts"])}
    expect(page.get_by_role("status")).to_have_text(answers[0.2, 10, 2])
