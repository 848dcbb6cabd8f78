"""The results: rows of a table with what can be done to them, and charts."""

import json
import math
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from tests.refused import unnamed
from workbench.comparison import compare
from workbench.deployment import Local
from workbench.queueing import mm1
from workbench.run import SLO, Run, load_run
from workbench.widgets import App, Results
from workbench.widgets.result_rows import COLUMNS, results_table
from workbench.widgets.results import MAX_RUNS


def made_run(count=400, latency=0.004, **facts):
    """A run that did not happen."""
    scheduled = np.arange(count) / 100
    facts = {"label": "mlp:1, local, no batching", "deployment": Local().to_dict()} | facts
    return Run.from_arrays(scheduled=scheduled, finished=scheduled + latency, facts=facts)


def predicted():
    """A prediction."""
    return replace(mm1(rate=5, service=0.1), label="mlp:1, local, no batching", slo=SLO(latency=1))


@pytest.fixture
def no_charts(monkeypatch):
    monkeypatch.setattr("workbench.widgets.results.CHARTS", {})


@pytest.fixture
def results(no_charts):
    return Results()


def column(results, title, what="text"):
    """What the table has under a title, row by row."""
    at = [each["title"] for each in results.table.columns].index(title)
    return [row["cells"][at][what] for row in results.table.rows]


def press(results, row, act, words=""):
    """Do what a page tells of a press in the table."""
    message = {"act": act, "id": results.table.rows[row]["id"], "words": words}
    results.table._handle(results.table, message, [])


def names(results):
    return [row["name"] for row in results.table.rows]


def test_results_are_rows_and_charts_with_words():
    results = Results()
    assert results.layout.display == "none"
    priced = Local(hourly_price=1.0).to_dict()

    results.add(made_run(deployment=priced))
    results.add(made_run(label="mlp:1, local, up to 8, 25 ms", deployment=priced))

    assert results.layout.display is None
    assert names(results) == ["no batching", "up to 8, 25 ms"]
    assert column(results, "p95") == ["4 ms", "4 ms"]
    figures = {name: chart.figure for name, chart in results.charts.items()}
    assert figures.pop("places") is None  # of ensembles only
    assert figures.pop("scaling") is None  # of fleets that changed their size only
    for figure in figures.values():
        assert "no batching" in figure.description
        assert "up to 8, 25 ms" in figure.description


def test_differences_are_to_the_first_until_another_is_pinned(results):
    for latency in (0.004, 0.006, 0.002):
        results.add(made_run(latency=latency))

    assert column(results, "p95", "change") == ["", "+50 %", "-50 %"]
    press(results, 1, "pin")
    assert column(results, "p95", "change") == ["-33 %", "", "-67 %"]
    press(results, 1, "pin")
    assert column(results, "p95", "change") == ["", "", ""]


def test_figures_that_none_has_have_no_column_and_what_is_unknown_sorts_as_such(results):
    results.add(predicted())
    results.add(made_run(trace={"name": "constant(rate=4)", "duration": 4.0, "requests": 400}))

    titles = [each["title"] for each in results.table.columns]
    assert "Failed" not in titles
    assert "Cold starts" not in titles
    assert column(results, "Requests", "value") == [None, 400]
    assert column(results, "Known by") == ["predicted", "unknown"]
    assert all(each["hint"] for each in results.table.columns)


def test_a_percentile_among_failed_requests_is_infinite_and_no_share_of_another(results):
    for latency in (math.nan, 0.004, math.nan):
        results.add(made_run(latency=latency))

    assert column(results, "p95") == ["∞", "4 ms", "∞"]
    assert column(results, "p95", "value") == [None, pytest.approx(0.004), None]
    assert set(column(results, "p95", "change")) == {""}
    json.dumps(results.table.rows, allow_nan=False)


def test_the_verdict_is_that_of_the_result_with_its_reason(results):
    target = {"slo": {"latency": 0.005, "quantile": 0.95}}
    results.add(made_run(**target))
    results.add(made_run(count=100, **target))
    results.add(made_run(valid=False, **target))

    words = ["met", "cannot tell, 200 requests would", "invalid: load was off schedule"]
    assert column(results, "Verdict") == words
    assert column(results, "Verdict", "value") == [0, 2, 3]  # the best first
    assert "needs" in column(results, "Verdict", "hint")[1]


def test_a_month_costs_what_the_bill_says():
    priced = {"deployment": Local(hourly_price=1.0).to_dict()}
    trace = {"name": "constant(rate=100)", "duration": 4.0, "requests": 400}
    compared = compare(made_run(trace=trace, **priced))
    (bill,) = compared.costs.values()

    shown = dict(zip(*(list(each) for each in (head_of(compared), row_of(compared))), strict=True))
    assert shown["$ a month"] == f"${bill.per_month:,.2f}"


def head_of(compared):
    return results_table(compared, {}).columns


def row_of(compared):
    return results_table(compared, {}).rows[0]


def test_traffic_that_all_runs_share_is_said_once(results):
    results.add(made_run(trace={"name": "constant(rate=4)"}))
    results.add(made_run(trace={"name": "constant(rate=4)"}))

    assert "Traffic: constant(rate=4)." in results.table.caption

    results.add(made_run(trace={"name": "constant(rate=5)"}))

    assert column(results, "Traffic")[1:] == ["constant(rate=4)", "constant(rate=5)"]


def test_without_a_price_no_cost_is_drawn_and_the_reason_is_said():
    results = Results()
    results.add(made_run())

    assert results.charts["cost"].figure is None
    assert "counts as free: give its price under Inference type." in results.notes.value


def test_a_chart_of_costs_names_fields_of_the_app_not_code():
    results = Results()
    results.add(made_run(deployment=Local(hourly_price=1.0).to_dict()))
    results.add(made_run())

    words = results.charts["cost"].figure.subtitle
    assert words == ("This machine counts as free: give its price under Inference type.",)


def test_what_a_run_is_called_is_escaped_where_it_is_html(results):
    results.add(made_run(label="<script>", trace={"name": "<b>"}, warnings=["<i>"]))

    assert not re.search("<script>|<b>|<i>", results.notes.value + results.kept)


def test_a_prediction_has_no_chart_of_rows():
    results = Results()
    results.add(predicted())
    assert results.charts["over time"].figure is None

    results.add(made_run(origin="simulated"))

    assert {"predicted", "simulated"} < set(
        re.split(r"\W", results.charts["latency"].figure.description)
    )


def test_all_charts_call_a_run_as_the_table_does():
    results = Results()
    results.add(predicted())
    results.add(made_run(origin="simulated"))
    press(results, 1, "name", "as today")

    for chart in ("over time", "batch sizes"):
        figure = results.charts[chart].figure
        assert set(figure.data["run"]) == {"as today"}
        assert "as today" in figure.description


def test_a_name_and_a_note_go_into_table_and_saved_run(results, tmp_path):
    results.add(made_run(created="2026-11-24T12:00:00+00:00"))
    results.folder.value = str(tmp_path / "kept")

    press(results, 0, "name", " as today ")
    press(results, 0, "note", "with <spare> cores")
    results.save_button.click()

    assert names(results) == ["as today"]
    assert "with &lt;spare&gt; cores" in results.kept
    (folder,) = (tmp_path / "kept").iterdir()
    assert folder.name == "as-today-2026-11-24t12-00-00"
    saved = load_run(folder)
    assert (saved.label, saved.record.note) == ("as today", "with <spare> cores")
    assert saved.frame.equals(results.value[0].frame)
    assert not unnamed(results.status.text, folder, "wb.load_run")

    press(results, 0, "note", "as ever")
    results.save_button.click()  # again, as after one more run

    assert load_run(folder).record.note == "as ever"


def test_what_cannot_be_saved_is_said(results, tmp_path):
    results.add(made_run())
    results.folder.value = str(tmp_path)
    results.save_button.click()
    others = Results()
    others.add(results.value[0])
    others.folder.value = str(tmp_path)
    others.save_button.click()

    assert "exists" in others.status.text
    assert others.status.wrong

    (tmp_path / "file").touch()
    others.folder.value = str(tmp_path / "file" / "below")
    others.save_button.click()

    assert others.status.text.endswith("cannot be made (Not a directory): enter another.")


def test_names_stay_apart(results):
    results.add(made_run())
    results.add(made_run())
    press(results, 0, "name", "mine")
    press(results, 1, "name", "mine")

    assert names(results) == ["mine", "mine #2"]


def test_runs_are_written_into_one_report(results, tmp_path):
    results.folder.value = str(tmp_path / "new")
    results.add(predicted())
    results.report_button.click()

    assert not unnamed(results.status.text, "Predictions", "report")
    results.save_button.click()
    assert not unnamed(results.status.text, "Predictions", "save")

    results.add(made_run())
    press(results, 1, "note", "first try")
    results.report_button.click()

    assert "first try" in (tmp_path / "new" / "report.html").read_text()
    assert "which opens in any browser" in results.status.text


def test_a_run_without_a_deployment_is_reported_without_a_price(results, tmp_path):
    results.add(made_run(deployment=None))
    results.folder.value = str(tmp_path)

    results.report_button.click()

    assert "which opens in any browser" in results.status.text
    assert "What was billed" not in (tmp_path / "report.html").read_text()


def test_what_was_deleted_or_cleared_comes_back(results):
    for count in (300, 400, 500):
        results.add(made_run(count))
    assert results.undo_button.disabled

    press(results, 1, "delete")
    assert [len(run) for run in results.value] == [300, 500]
    results.undo_button.click()
    assert [len(run) for run in results.value] == [300, 400, 500]

    results.clear_button.click()
    assert (results.value, results.table.rows) == ((), [])
    assert results.layout.display is None  # or Undo would be out of reach
    results.undo_button.click()
    assert len(results.value) == 3
    assert results.undo_button.disabled


def test_a_press_on_a_row_that_is_gone_does_nothing(results):
    results.add(made_run())
    message = {"act": "delete", "id": results.table.rows[0]["id"]}
    for _ in range(2):
        results.table._handle(results.table, message, [])

    assert results.value == ()


def test_a_deleted_run_leaves_the_disk_once_that_is_confirmed(results, tmp_path):
    for name in ("a", "b"):
        run = made_run()
        kept = run.amend(kept=str(tmp_path / name))
        kept.save(tmp_path / name)
        results.add(kept)
    results.add(made_run())
    assert results.erase_button.layout.display == "none"

    press(results, 0, "delete")

    assert not unnamed(results.status.text, tmp_path / "a")
    assert len(load_run(tmp_path / "a")) == len(run)
    results.erase_button.click()
    assert not unnamed(results.status.text, "Deleted", tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]

    results.clear_button.click()
    (tmp_path / "b" / "mine").touch()
    results.erase_button.click()

    assert results.layout.display is None  # what was not removed is said, and can be tried again
    assert results.status.text.startswith(f"{tmp_path / 'b'} is not removed: mine in it")
    assert results.erase_button.layout.display is None
    results.add(made_run())
    assert results.erase_button.layout.display == "none"
    assert (tmp_path / "b" / "rows.parquet").exists()


def test_the_oldest_makes_room_but_not_the_baseline_and_that_is_said(results):
    runs = [made_run(label=f"run {number}") for number in range(MAX_RUNS + 1)]

    for run in runs:
        results.add(run)

    assert results.value == (runs[0], *runs[2:])
    assert results.table.rows[0]["baseline"]
    assert "run 1 made room" in results.status.text
    results.undo_button.click()
    assert results.value == tuple(runs[:-1])


def test_the_code_that_made_a_result_is_at_hand(results):
    results.add(made_run(), code="run = experiment.run()")
    results.add(made_run(kept="/runs/a"))
    results.add(predicted())

    codes = [row["code"] for row in results.table.rows]
    assert codes == ["run = experiment.run()", codes[1], ""]
    assert "wb.load_run('/runs/a')" in codes[1]


def test_the_figures_are_a_csv_file_too(results):
    results.add(made_run())

    head, row = results.table.csv.splitlines()
    assert dict(zip(head.split(","), row.split(","), strict=False))["run"] == "no batching"


def test_every_figure_of_the_table_is_one_of_the_comparison(results):
    known = set(compare(made_run()).frame.columns) | {"traffic"}

    assert set(COLUMNS) <= known


def test_two_threads_that_ask_an_app_for_its_results_get_the_same(registry, monkeypatch):
    both = threading.Barrier(2)

    class Slow(Results):
        def __init__(self):
            both.wait(60)  # neither has them yet
            super().__init__()

    monkeypatch.setattr("workbench.widgets.results.Results", Slow)
    app = App(registry)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: App.results.func(app), range(2))

    assert one is other is app.results
