"""The doctor examines real models in the real model server."""

import json
import sys

import numpy as np
import pytest

import workbench as wb
from tests.graphs import linear
from tests.refused import refused
from workbench.cli import main
from workbench.cloud import doctor
from workbench.errors import InvalidInput, NotAvailable


@pytest.fixture(scope="module")
def found(model):
    return doctor.examine(model)


def test_a_sound_model_passes_every_check(found):
    assert found.ok, str(found)
    names = [check.name for check in found.checks]
    assert names == [
        "archive",
        "rows together",
        "outputs",
        "estimator",
        "time by values",
        "/ping",
        "/execution-parameters",
        "application/x-npy",
        "application/json",
        "text/csv",
        "application/jsonlines",
        "nonsense",
        "memory",
        "SIGTERM",
    ]


def test_it_says_how_many_rows_fit_each_inference_type(found):
    fits = {fit.kind: fit.rows for fit in found.fits}
    on_functions = {"lambda", "lambda managed"}
    assert set(fits) == {"real-time", "serverless", "async", "batch transform"} | on_functions
    row = 64 * 4
    assert fits["serverless"] * row < 4 * 1024**2 < 1.1 * fits["serverless"] * row
    assert fits["lambda"] < fits["real-time"] < fits["async"]


def test_a_missing_package_of_the_server_is_no_fault_of_the_model(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)

    with refused(NotAvailable, "uvloop"):
        doctor.examine(model)


def test_a_server_that_does_not_come_up_gives_its_last_words(model, monkeypatch):
    monkeypatch.setattr(doctor, "unpack", lambda _, folder: _broken(folder))
    found = doctor.examine(model)

    assert not found.ok
    assert found.checks[-1].name == "start"
    assert "ended with 1 before it listened. " in found.checks[-1].finding
    assert "Traceback" not in found.checks[-1].finding


def _broken(folder):
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"no model")
    return folder


def test_answers_that_are_not_the_models_are_told(model, monkeypatch):
    monkeypatch.setattr(doctor, "_is_close", lambda *_: False)
    found = doctor.examine(model)

    assert not found.ok
    assert "not those of the model alone" in str(found)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([1.0, 2.0], [1.0, 2.0 + 1e-6], True),
        ([1.0, 2.0], [1.0, 2.1], False),
        ([1.0, 2.0], [[1.0, 2.0]], False),
        (["a"], ["a"], True),
        (["a"], ["b"], False),
    ],
)
def test_answers_agree_within_what_texts_keep(one, other, same):
    assert doctor._is_close(np.array(one), np.array(other)) is same


def test_a_row_that_no_request_can_hold_is_told():
    fits = {fit.kind: fit for fit in doctor._compute_fits(5 * 1024**2, 100 * 1024**2, 0.0)}
    assert fits["serverless"].rows == 0
    assert fits["real-time"].rows == 1
    assert fits["lambda"].rows == 0


def test_memory_that_serverless_does_not_have_is_told():
    fits = {fit.kind: fit for fit in doctor._compute_fits(100, 7000 * 1024**2, 0.0)}
    assert fits["serverless"].rows == 0
    assert "no memory size holds it" in fits["serverless"].finding


@pytest.mark.parametrize("given", [{"rows": 0}, {"threads": 0}, {"ping_timeout": -1}])
def test_settings_out_of_their_limits_are_refused(model, given):
    with refused(InvalidInput, *next(iter(given.items()))):
        doctor.examine(model, **given)


@pytest.mark.usefixtures("at_home")
def test_the_command_tells_people_and_machines(capsys):
    assert main(["doctor", "digits-mlp-small", "--rows", "4"]) == 0
    assert "up to" in capsys.readouterr().out
    assert main(["doctor", "digits-mlp-small", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"]
    assert told["fits"][0]["kind"] == "real-time"


def test_the_command_fails_for_a_model_that_cannot_be_served(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(doctor, "unpack", lambda _, folder: _broken(folder))
    registry = wb.Registry(tmp_path / "registry")
    registry.register("tiny", linear(), approval="Approved")
    status = main(["doctor", "tiny", "--registry", str(tmp_path / "registry")])
    assert status == 1
    assert "NOT OK" in capsys.readouterr().out


def test_rows_are_as_many_as_memory_holds_and_the_need_is_said():
    mb = 1024**2
    fits = {fit.kind: fit for fit in doctor._compute_fits(100, 100 * mb, 1 * mb)}

    assert fits["serverless"].rows == 6144 - 100
    assert f"{fits['async'].rows + 100:,} MB of memory needed" in fits["async"].finding
    assert fits["async"].rows == 1024**3 // 100
