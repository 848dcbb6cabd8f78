"""The commands that read what a cloud has, and bring versions there and back."""

import json

import numpy as np
import pytest

from workbench.cli import main
from workbench.localcloud import LocalCloud
from workbench.registry.api import Registry

FAST = "digits-mlp-small"


@pytest.fixture
def cloud(somewhere, monkeypatch):
    """A local cloud that the environment names, as `workbench local-cloud` says it."""
    with LocalCloud() as cloud:
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        yield cloud


def answer(capsys, command):
    assert main([*command.split(), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_versions_go_to_a_cloud_and_come_back(cloud, capsys):
    (arn,) = answer(capsys, f"registry push {FAST}")["versions"]
    (model,) = answer(capsys, f"registry pull {FAST} --registry other")["models"]

    assert arn.endswith(f"/{FAST}/1")
    assert model == {"name": f"{FAST}:1", "approval": "Approved"}
    assert Registry("other")[FAST].sha256 == Registry()[FAST].sha256
    events = [each["event"] for each in answer(capsys, f"monitor trail {arn}")["rows"]]
    assert "UpdateModelPackage" in events
    assert main(f"monitor trail {arn}".split()) == 0
    assert "UpdateModelPackage" in capsys.readouterr().out
    assert main(["monitor", "alarms", "nobody"]) == 0
    assert capsys.readouterr().out == "Nothing yet.\n"


def test_a_file_of_rows_is_compared_with_the_samples_of_a_model(cloud, capsys):
    samples = Registry()[FAST].samples().inputs
    moved = np.array(samples)
    moved[:, 20] += 16
    np.save("moved.npy", moved)

    first, *others = answer(capsys, f"monitor drift {FAST} moved.npy")["rows"]
    assert (first["input"], first["drifted"]) == (20, True)
    assert not any(each["drifted"] for each in others)
