"""What a plan proposes can be made: on a cloud with the limits of an account that is new."""

import itertools

import pytest

import workbench as wb
from workbench.cloud.deploy import deploy
from workbench.cloud.ledger import Ledger
from workbench.deployment import KINDS, Lambda
from workbench.errors import CloudError
from workbench.planner import Options, plan
from workbench.service_times import ServiceTimes
from workbench.traffic.patterns import poisson

OPTIONS = Options(
    cold_start=0.5,
    finalists=1,
    max_sizes=[1, 4, 16],
    max_waits=[0.0, 0.01, 0.1],
    row_bytes=500,
    answer_bytes=80,
    model_memory=3e8,
    unseen_draws=0,
)
RATES, TARGETS = (0.2, 2, 10, 40, 100), (0.05, 0.1, 0.5, 5.0)
TIMES = [ServiceTimes.affine(0.7 * one, 0.3 * one, largest=16) for one in (0.004, 0.02, 0.2)]


@pytest.fixture(scope="module")
def winners():
    """The deployments that win 60 problems, each once."""
    traces = [poisson(rate=rate, duration=max(5, 100 / rate), seed=1) for rate in RATES]
    problems = list(itertools.product(TIMES, traces, TARGETS))
    assert len(problems) == 60
    found = [plan(t, trace, wb.SLO(latency=x), OPTIONS).best for t, trace, x in problems]
    return {each.deployment: each for each in found}


@pytest.fixture(scope="module")
def cloud():
    with wb.LocalCloud() as cloud:
        yield cloud


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.db")


def test_the_winner_of_each_of_60_problems_is_deployed(winners, model, cloud, ledger):
    assert {each.kind for each in winners} >= {"serverless", "lambda", "real-time"}
    for deployment in winners:
        with deploy(model, deployment, cloud, yes=True, ledger=ledger) as deployed:
            assert deployed.deployment == deployment
    assert not ledger.entries()


def test_a_function_that_reserves_what_aws_keeps_back_is_refused(model, cloud, ledger):
    """So that the test above can fail: AWS keeps 100 calls of an account's 1000."""
    greedy = Lambda(memory_mb=512, max_concurrency=901)
    with (
        pytest.raises(CloudError, match="below its minimum value"),
        deploy(model, greedy, cloud, yes=True, ledger=ledger),
    ):
        pytest.fail("the block must not be entered")


@pytest.mark.parametrize("kind", OPTIONS.kinds)
def test_no_type_is_tried_beyond_the_quota_of_a_new_account(kind):
    for each in OPTIONS.places(kind):
        quota = KINDS[kind].default_quota
        assert quota is None or each.platform.servers <= quota
