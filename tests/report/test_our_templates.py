"""What the templates of capacity, cost, a model and monitoring say, beside what is so."""

import re
from pathlib import Path

import pytest

import workbench as wb
from tests.refused import refused
from workbench.backends.base import Batch
from workbench.cli import main
from workbench.cloud import monitor
from workbench.errors import Unfinished
from workbench.measuring.outcomes import find_outcomes
from workbench.report.notebook import execute, page_of
from workbench.report.page import LARGEST
from workbench.report.templates import find_template

WHERE = {"model": "digits-logistic", "types": ["lambda"]}


@pytest.fixture(autouse=True)
def nothing_of_this_user(at_home, jupyter_env, monkeypatch, tmp_path):
    for name, value in jupyter_env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def text_of(template, values):
    """The words of its page, which keeps to what every page keeps to."""
    page = page_of(execute(find_template(template), values))
    assert len(page) < LARGEST
    assert not re.search(r"<script|(src|href)=.?https?:", page)
    assert len(re.findall(r'<svg role="img" aria-label="[^"]{20,}"', page)) == page.count("<svg ")
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def test_a_cost_review_bills_what_is_there_and_says_what_a_change_saves():
    shown = text_of("cost-review", {**WHERE, "today": "real-time:count=2", "duration": 20.0})

    least, today, saved = (
        float(re.search(pattern, shown)[1])
        for pattern in (
            r"Take lambda .*?\): \$([\d.]+) a month",
            r"meets the target at \$([\d.]+) a month",
            r"\$([\d.]+) a month less \(simulated\)",
        )
    )
    assert today == pytest.approx(2 * 730 * 0.115, rel=0.01)  # dollars an hour of an ml.m5.large
    assert saved == pytest.approx(today - least, abs=0.011)
    assert "What was billed, in US dollars" in shown
    assert "Set min = " in shown


@pytest.mark.parametrize("given", [{"today": "serverless:memory=2048"}, {"run": "a"}])
def test_a_cost_review_counts_what_a_cold_start_takes(given, at_home):
    own = wb.Registry()["digits-logistic"]
    there = wb.Serverless(memory_mb=2048, max_concurrency=200)
    saved = wb.Experiment(own, there, wb.poisson(rate=20, duration=60, seed=1))
    saved.simulate(wb.ServiceTimes({1: 0.01}), cold_start=0.05).save("a")
    asked = {"run": {"run": "a"}, "today": {**WHERE, "duration": 60.0, "cold_start": 0.05}}

    shown = text_of("cost-review", {"types": ["lambda"], **asked[next(iter(given))], **given})

    assert "start without delay" not in shown
    kept = re.search(r"min = 0\b.*? \$[\d.]+ [\d.]+ % (\S+)", shown)
    assert float(kept[1].replace(",", "")) > 0  # seconds waited a month
    assert "not billed" not in shown


def test_a_cost_review_of_a_saved_run_asks_for_nothing_that_the_run_says(model):
    trace = wb.poisson(rate=5, duration=60, seed=1)
    there, batches = wb.RealTime(instance_type="ml.m5.large"), wb.BatchPolicy(4, 0.01)
    slo = wb.SLO(latency=0.2, quantile=0.9)
    run = wb.Experiment(model, there, trace, batches, slo).simulate(
        wb.ServiceTimes(dict.fromkeys(range(1, 5), 0.01))
    )
    run.amend(complete=False).save("a")

    shown = text_of("cost-review", {"run": "a", "types": ["lambda"]})

    assert f"{len(trace)} requests" in shown.partition("Where this comes from")[2]
    assert "target of 200 ms" in shown
    assert "The run is invalid: stopped early." in shown
    with refused(Unfinished, "InvalidInput", "up to 4, 10 ms", "no batching"):
        execute(find_template("cost-review"), {"run": "a", "batching": "1"})


def test_a_capacity_report_costs_what_the_plan_of_the_same_traffic_does(at_home):
    values = {**WHERE, "types": ["serverless"], "duration": 30.0, "cold_start": 0.1}
    model, slo = wb.Registry()[values["model"]], wb.SLO(latency=0.1)
    options = wb.Options(kinds=["serverless"], cold_start=0.1, seed=1)
    decision = wb.decide(model, wb.poisson(rate=50, duration=30, seed=1), slo, options)

    shown = text_of("capacity", values)

    assert shown.count(decision.sentence) == 1
    assert (
        len(re.findall(re.escape(decision.sentence.split(": ", 1)[1]), shown, re.IGNORECASE)) == 1
    )
    assert "start without delay" not in shown


def test_a_report_whose_target_nothing_meets_names_no_price_and_says_no(capsys):
    words = ["-p", "model=digits-logistic", "-p", "types=lambda", "-p", "duration=20s"]
    assert main(["report", "capacity", *words, "-p", "latency=10us", "-o", "no.html"]) == 1

    assert "Nothing meets p95" in capsys.readouterr().out
    page = Path("no.html").read_text()
    assert 'class="amount"' not in page
    assert "give the parameter cold_start" in page


def test_a_model_card_says_what_the_registry_and_the_model_say(model):
    values = {"starts": 1, "batch_sizes": ["1", "8"], "threads": ["1"], "rates": ["5", "50"]}

    shown = text_of("model-card", {**values, "model": model.name})

    assert f"{find_outcomes(model).accuracy} of " in shown
    assert "1 of 1 calls were cold" in shown
    assert re.findall(r" (5|50) lambda lambda \d+ MB", shown) == ["5", "50"]
    assert f"History of {model.name}" in shown
    assert "approval Approved" in shown


def test_an_endpoint_s_week_counts_its_calls_and_names_its_alarms(model, monkeypatch):
    with wb.LocalCloud() as cloud:
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        endpoint = wb.RealTime(instance_type="ml.m5.large", count=1)
        with wb.deploy(model, endpoint, cloud) as deployed:
            with deployed.backend() as backend:
                for row in range(3):
                    backend.invoke(Batch(model.samples().inputs[row : row + 1]))
            burn = monitor.BurnRate(slo=wb.SLO(latency=0.1, quantile=0.95))
            monitor.put_alarm(deployed.name, cloud, burn, yes=True)

            shown = text_of("monitoring", {"endpoint": deployed.name, "period": 60})

    assert (
        "3 calls in 7 days, 0 % of them failed; p95 was above 100 ms in 0 of 1 period of" in shown
    )
    assert "In alarm: none of 1." in shown
    assert "100 ms is missed 2 times as often as allowed" in shown
    assert "CreateEndpoint" in shown
