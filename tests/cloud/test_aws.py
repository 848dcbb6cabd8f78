"""What a cloud is, what its refusals become, and what is asked before money is spent."""

import math
import pickle
import sys
import threading

import numpy as np
import pytest
from botocore import exceptions

import workbench as wb
from tests.played import PlayedCloud
from tests.refused import refused
from workbench.cloud import cost_guard
from workbench.cloud.adapters import ADAPTERS
from workbench.cloud.aws import Cloud, aws
from workbench.cloud.cost_guard import (
    CostMeter,
    check_payload,
    confirm_cost,
    estimate_max_cost,
    hourly_cost,
)
from workbench.errors import CloudError, InvalidInput, NotAvailable, OverBudget, Unreachable

SERVERLESS = wb.Serverless(memory_mb=2048, max_concurrency=10)
TWO = wb.RealTime(instance_type="ml.m5.xlarge", count=2)


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """Somebody without any setting of AWS's."""
    names = "PROFILE REGION DEFAULT_REGION ENDPOINT_URL ACCESS_KEY_ID SECRET_ACCESS_KEY"
    for name in [*(f"AWS_{each}" for each in names.split()), "WORKBENCH_IMAGE", "WORKBENCH_BUCKET"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("WORKBENCH_ROLE_ARN", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def test_aws_says_where_results_come_from(nobody):
    assert aws().origin == "measured: AWS us-east-1"
    assert aws(region="eu-west-1").origin == "measured: AWS eu-west-1"
    nobody.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert aws().facts() == {"name": "AWS", "region": "eu-central-1", "paid": True}


def test_another_address_is_never_called_aws(nobody):
    nobody.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert aws().origin == "measured: http://127.0.0.1:4566"
    assert aws().client("s3").meta.endpoint_url == "http://127.0.0.1:4566"


def test_role_image_and_bucket_come_from_the_environment_too(nobody):
    nobody.setenv("WORKBENCH_ROLE_ARN", "arn:1")
    nobody.setenv("WORKBENCH_IMAGE", "image:1")
    assert (aws().role, aws().image, aws().bucket) == ("arn:1", "image:1", None)
    assert aws(role="arn:2", bucket="mine").role == "arn:2"


def test_a_profile_that_does_not_exist_is_named(nobody):
    with refused(NotAvailable, "nobody", "Sign in"):
        aws(profile="nobody")


def test_without_credentials_a_call_says_to_sign_in(nobody):
    cloud = aws()
    with refused(NotAvailable, "Sign in"), cloud.translate_errors("list the models"):
        cloud.client("sagemaker").list_models()


def test_a_cloud_can_be_sent_and_does_not_show_its_keys():
    cloud = Cloud(keys=("AKIA", "hush"))
    assert pickle.loads(pickle.dumps(cloud)) == cloud.value() == cloud  # noqa: S301 - our own
    assert "hush" not in repr(cloud)
    assert "hush" not in str(cloud.facts())


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        ("ExpiredToken", NotAvailable, "Sign in"),
        ("UnrecognizedClientException", NotAvailable, "Sign in"),
        ("AccessDenied", NotAvailable, "permission"),
        ("ResourceLimitExceeded", CloudError, "Service Quotas"),
        ("ThrottlingException", CloudError, "try again"),
        ("SomethingNew", CloudError, "because."),
    ],
)
def test_each_refusal_is_one_clear_error(code, kind, advice):
    cloud = PlayedCloud()
    cloud.refuse("sagemaker", "list_models", code)

    with (
        refused(kind, "list the models", code, advice) as caught,
        cloud.translate_errors("list the models"),
    ):
        cloud.client("sagemaker").list_models()

    assert "\n" not in str(caught.value)
    assert kind is NotAvailable or caught.value.code == code


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.EndpointConnectionError(endpoint_url="http://x"), Unreachable),
        (exceptions.ReadTimeoutError(endpoint_url="http://x"), Unreachable),
        (exceptions.ConnectionClosedError(endpoint_url="http://x"), Unreachable),
        (exceptions.NoCredentialsError(), NotAvailable),
        (exceptions.UnauthorizedSSOTokenError(), NotAvailable),
        (exceptions.ParamValidationError(report="no name"), CloudError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_no_answer_is_a_clear_error_too(error, kind):
    with (
        refused(kind, "list the models"),
        Cloud().translate_errors("list the models"),
    ):
        raise error


def test_errors_of_a_cloud_can_be_sent():
    come = pickle.loads(pickle.dumps(CloudError("no", "Throttling")))  # noqa: S301 - our own
    assert (str(come), come.code) == ("no", "Throttling")


# ---------------------------------------------------------------------------------- spending


def test_instances_cost_from_launch_to_stop():
    assert hourly_cost(TWO) == pytest.approx(0.46)
    whole = estimate_max_cost(TWO, 3600.0).total
    assert whole == pytest.approx(0.46 * (3600 + cost_guard.START_AND_STOP_SECONDS) / 3600)


def test_serverless_costs_no_more_than_all_places_all_the_time():
    assert hourly_cost(SERVERLESS) == 0
    assert estimate_max_cost(SERVERLESS, 100).total == pytest.approx(10 * 100 * 0.00004)
    assert estimate_max_cost(SERVERLESS, 100, calls=1).total == pytest.approx(60 * 0.00004)
    kept = wb.Serverless(memory_mb=2048, max_concurrency=10, provisioned=2)
    assert hourly_cost(kept) > 0
    assert estimate_max_cost(kept, 100).total > estimate_max_cost(SERVERLESS, 100).total * 0.8
    assert (
        estimate_max_cost(SERVERLESS, 100, bytes_in=1e9).total
        > estimate_max_cost(SERVERLESS, 100).total
    )


def test_other_types_are_no_endpoints():
    with refused(InvalidInput, wb.Local().label):
        hourly_cost(wb.Local())


def test_what_it_may_cost_is_told_before_it_is_spent():
    told = []
    confirm_cost(estimate_max_cost(TWO, 3600), TWO, Cloud(), yes=True, notify=told.append)
    (line,) = told
    assert line.startswith("real-time 2 x ml.m5.xlarge on AWS us-east-1 costs at most $0.54 (")
    assert line.endswith("verified prices), and $0.46 an hour while it stays.")


def test_a_cloud_that_costs_nothing_asks_nothing():
    confirm_cost(
        estimate_max_cost(TWO, 3600), TWO, Cloud(paid=False), budget=0.0, notify=pytest.fail
    )


def test_a_budget_is_a_limit():
    with refused(OverBudget, "$0.54", "$0.50"):
        confirm_cost(estimate_max_cost(TWO, 3600), TWO, Cloud(), budget=0.5, yes=True)
    with refused(InvalidInput, "budget", -1):
        confirm_cost(estimate_max_cost(TWO, 3600), TWO, Cloud(), budget=-1, yes=True)


@pytest.mark.parametrize(("typed", "agreed"), [("y", True), (" Yes ", True), ("", False)])
def test_a_person_is_asked(monkeypatch, capsys, typed, agreed):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: typed)
    if agreed:
        confirm_cost(estimate_max_cost(TWO, 3600), TWO, Cloud())
    else:
        with refused(NotAvailable, "confirmed"):
            confirm_cost(estimate_max_cost(TWO, 3600), TWO, Cloud())
    assert "costs at most" in capsys.readouterr().err


def test_where_nobody_can_be_asked_nothing_is_spent(monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with refused(NotAvailable, "yes=True"):
        confirm_cost(estimate_max_cost(TWO, 3600), TWO, Cloud())


def test_a_batch_has_to_fit_the_inference_type():
    check_payload(TWO, 6 * 1024**2)
    check_payload(wb.Local(), 10**12)
    with refused(InvalidInput, "4,194,305 bytes", "max_size"):
        check_payload(SERVERLESS, 4 * 1024**2 + 1)


def quotas(cloud, *found, more=None):
    page = {"Quotas": [{"QuotaName": name, "Value": value} for name, value in found]}
    cloud.answer("service-quotas", "list_service_quotas", page | (more or {}))


def test_a_quota_that_is_too_small_stops_it_before_it_starts():
    cloud = PlayedCloud()
    quotas(cloud, ("ml.m5.large for endpoint usage", 9.0), more={"NextToken": "2"})
    quotas(cloud, ("ml.m5.xlarge for endpoint usage", 1.0))
    with refused(CloudError, 1, 2, "ml.m5.xlarge") as caught:
        ADAPTERS[TWO.kind].check_quota(TWO, cloud)
    assert caught.value.code == "ResourceLimitExceeded"
    quotas(cloud, ("ml.m5.xlarge for endpoint usage", 2.0))
    ADAPTERS[TWO.kind].check_quota(TWO, cloud)


def test_quotas_that_are_not_told_do_not_stop_it():
    cloud = PlayedCloud()
    quotas(cloud)
    ADAPTERS[TWO.kind].check_quota(TWO, cloud)
    cloud.refuse("service-quotas", "list_service_quotas", "AccessDeniedException")
    ADAPTERS[TWO.kind].check_quota(TWO, cloud)
    ADAPTERS[SERVERLESS.kind].check_quota(SERVERLESS, cloud)
    ADAPTERS[TWO.kind].check_quota(TWO, PlayedCloud(paid=False))
    cloud.done()


# ------------------------------------------------------------------------------------- meter


def rows(*spans):
    """Rows of calls, each of a batch of two, that took so long."""
    count = len(spans)
    return {
        "batch": np.repeat(np.arange(count), 2),
        "started": np.zeros(2 * count),
        "finished": np.repeat(np.array(spans, dtype=float), 2),
    }


def test_a_meter_counts_every_call_once():
    meter = CostMeter(SERVERLESS, Cloud(), None, launched=0.0, clock=lambda: 3600.0)
    meter.add(rows(2.0, math.nan, 3.0), threading.Event())
    assert meter.dollars == pytest.approx(5 * 0.00004)


def test_a_meter_stops_a_run_once_its_budget_is_spent():
    hours = iter([1.0, 3.0, 4.0])
    meter = CostMeter(TWO, Cloud(), 1.0, launched=0.0, clock=lambda: 3600.0 * next(hours))
    stopped = threading.Event()
    meter.add(rows(1.0), stopped)
    assert not stopped.is_set()
    meter.add(rows(1.0), stopped)
    assert stopped.is_set()
    meter.add(rows(1.0), stopped)
    assert meter.warnings == ["The budget of $1.00 was spent: stopped."]


def test_where_nothing_costs_no_budget_is_spent():
    meter = CostMeter(TWO, Cloud(paid=False), 0.0, launched=0.0, clock=lambda: 3600.0)
    stopped = threading.Event()
    meter.add(rows(1.0), stopped)
    assert not stopped.is_set()
