"""What the version before saved is opened, or refused in one sentence: never half read."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import workbench as wb
from tests.refused import refused
from workbench.cloud.ledger import Ledger
from workbench.errors import Damaged, StorageError, TooFewSamples
from workbench.localcloud import LocalCloud
from workbench.measuring.profile import load_profile
from workbench.registry.api import Registry
from workbench.run import COLUMNS, load_record

SAVED = Path(__file__).parent / "data" / "saved-by-754c0f6"


@pytest.fixture
def saved(tmp_path):
    return Path(shutil.copytree(SAVED, tmp_path / "saved"))


def rewrite(folder, **facts):
    """Change what the JSON file of a saved run says."""
    path = folder / "facts.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_a_simulated_run_has_the_figures_it_had():
    run = wb.load_run(SAVED / "simulated")

    assert len(run) == run.answered == 331
    assert (run.quantile(0.5), run.quantile(0.9)) == (0.019999999999999574, 0.02200000000000002)
    with refused(TooFewSamples, "90th", "fleet"):
        run.interval(0.9)
    assert run.frame["latency"].sum() == pytest.approx(6.582335626333494, rel=1e-14)
    assert wb.cost(run).total == pytest.approx(0.0004791666666666667)
    record = run.record
    assert record.deployment == wb.RealTime(instance_type="ml.m5.large", count=1)
    assert record.scaling == {"kind": "schedule", "changes": [[2.0, 3], [5.0, 1]]}
    assert record.instances == ((0.0, 8.016350264138685), (2.0, 5.0), (2.0, 5.0))
    assert (record.seed, record.cold_start, run.slo) == (3, 0.5, wb.SLO(latency=0.1, quantile=0.9))
    assert (record.model.name, record.trace.requests, record.warnings) == ("linear:1", 331, ())


def test_a_measured_run_has_the_figures_it_had():
    run = wb.load_run(SAVED / "measured")

    assert (len(run), run.batches().height, run.valid, run.complete) == (29, 24, False, True)
    assert run.quantile(0.5) == 0.005304932922524874
    assert wb.cost(run).total == pytest.approx(4.7262512300039815e-05)
    assert run.record.lag.p99 == 0.002823452017685211
    assert (run.record.kept, run.record.retries) == ("measured", 0)


def test_a_run_on_a_cloud_has_the_figures_it_had():
    run = wb.load_run(SAVED / "endpoint")

    assert run.origin == "measured: local cloud"
    assert run.frame.columns == [*COLUMNS, "model_latency", "overhead_latency"]
    assert wb.cost(run).total == pytest.approx(0.0001277777777777778)
    assert run.record.counts == ((-1.3505973369992716, 1),)
    assert (run.record.activities, run.record.cloud["paid"]) == ((), False)


@pytest.mark.parametrize("name", ["simulated", "measured", "endpoint"])
def test_an_old_run_was_in_one_place_and_stays_the_same_when_saved_again(name, tmp_path):
    run = wb.load_run(SAVED / name)

    again = wb.load_run(run.save(tmp_path / "again"))

    assert (run.record.places, run.frame["place"].unique().to_list()) == (("",), [0])
    assert again.record == run.record == load_record(tmp_path / "again")
    assert again.frame.equals(run.frame)


def test_a_run_of_a_later_format_is_refused_before_its_rows_are_read(saved):
    folder = saved / "measured"
    rewrite(folder, format=4, rows="elsewhere")
    (folder / "rows.parquet").unlink()

    with refused(StorageError, folder, "format 4", 3, "pip install --upgrade") as told:
        wb.load_run(folder)
    assert not isinstance(told.value, Damaged)


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"mood": "good"}, ["mood"]),
        ({"deployment": {"kind": "abacus"}}, ["abacus"]),
        ({"counts": [[0.0, 1.5]]}, ["counts", 1.5]),
        ({"lag": {"p50": 1.0}}, ["lag", "{'p50': 1.0}"]),
        ({"complete": "yes"}, ["complete", "yes"]),
        ({"places": []}, ["places", 0]),
    ],
)
def test_a_run_whose_record_makes_no_sense_is_damaged(saved, facts, named):
    rewrite(saved / "measured", **facts)

    with refused(Damaged, *named):
        wb.load_run(saved / "measured")


def test_the_registry_opens_and_its_models_run(saved):
    registry = Registry(saved / "registry")

    model = registry["linear"]

    assert (model.version, model.approval) == (1, "Approved")
    assert [each.why for each in registry.history("linear", 1)] == ["a fixture", "a fixture"]
    assert model.session().run(np.ones((1, 3), np.float32)).tolist() == [[3.0, 0.0]]
    assert registry.verify() == []


def test_a_registry_of_a_later_version_is_refused(saved):
    with closing(sqlite3.connect(saved / "registry" / "registry.db")) as database:
        database.execute("PRAGMA user_version = 99")

    with refused(StorageError, "newer"):
        Registry(saved / "registry")


def test_the_profile_opens():
    profile = load_profile(SAVED / "profiles" / "kept")

    assert profile.label == "linear:1"
    assert profile.times()["batch_size"].to_list() == [1, 2]
    times = wb.ServiceTimes.from_profile(profile)
    assert times.sizes == [1, 2]
    assert times.table.shape[1] == 21
    assert times.speed is None
    assert "tail unknown beyond p95" in repr(profile)
    assert "Profile the model again" in profile.note


def test_the_ledger_opens(saved):
    endpoint, function = Ledger(saved / "ledger.db").entries()

    assert (endpoint.name, endpoint.hourly, endpoint.cloud.paid) == ("wb-linear-1234", 0.115, True)
    assert (function.kind, function.cloud.endpoint_url) == ("function", "http://127.0.0.1:9")


def test_a_ledger_of_a_later_version_is_refused_whole(saved):
    with closing(sqlite3.connect(saved / "ledger.db")) as database, database:
        database.execute("UPDATE entries SET facts = json_set(facts, '$.zone', 'a')")

    with refused(StorageError, saved / "ledger.db", "update"):
        Ledger(saved / "ledger.db").entries()


def test_the_folder_of_a_local_cloud_opens(saved):
    with (
        LocalCloud(saved / "cloud") as cloud,
        closing(cloud.client("s3")) as s3,
        closing(cloud.client("sagemaker")) as sagemaker,
    ):
        body = s3.get_object(Bucket="kept", Key="k")["Body"].read()
        package = sagemaker.describe_model_package(ModelPackageName="kept/1")

    assert body == b"hello"
    assert package["ModelApprovalStatus"] == "Approved"


def test_the_folder_of_a_later_local_cloud_is_refused(saved):
    with closing(sqlite3.connect(saved / "cloud" / "cloud.db")) as database:
        database.execute("PRAGMA user_version = 99")

    with refused(StorageError, saved / "cloud" / "cloud.db", "newer"), LocalCloud(saved / "cloud"):
        pass
