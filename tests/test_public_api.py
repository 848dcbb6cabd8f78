"""What `import workbench` offers: complete, sorted, light, and hidden by no submodule."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import workbench
from tests.refused import refused
from workbench import _CONTENTS
from workbench.measuring.outcomes import find_outcomes

_HOME = {name: module for module, names in _CONTENTS.items() for name in names}
HEAVY = ("altair", "boto3", "ipywidgets", "numba", "onnx", "onnxruntime", "polars", "sklearn")
ENGINES = (  # what `run` needs
    "workbench.backends",
    "workbench.cloud",
    "workbench.measuring.load",
    "workbench.measuring.profile",
)
# an app is shown without
UNSEEN = ("altair", "boto3", "numba", "onnx", "onnxruntime", "polars", "sklearn")


def import_every_submodule():
    found = pkgutil.walk_packages(workbench.__path__, prefix="workbench.")
    names = [each.name for each in found if not each.name.endswith("__main__")]
    return {name: importlib.import_module(name) for name in names}


def test_the_table_of_contents_is_sorted_and_without_repeats():
    assert workbench.__all__ == sorted(set(workbench.__all__))
    assert set(workbench.__all__) <= set(dir(workbench))


@pytest.mark.parametrize("name", workbench.__all__)
def test_every_name_resolves_to_what_its_module_defines(name):
    assert getattr(workbench, name) is getattr(
        importlib.import_module(f"workbench.{_HOME[name]}"), name
    )


def test_no_submodule_hides_a_public_name():
    modules = import_every_submodule()

    for name in workbench.__all__:
        assert getattr(workbench, name) is getattr(modules[f"workbench.{_HOME[name]}"], name)
    for package in [workbench, *modules.values()]:
        submodules = {each.name for each in pkgutil.iter_modules(getattr(package, "__path__", []))}
        assert not submodules & set(getattr(package, "__all__", [])), package.__name__


def test_an_unknown_name_is_an_attribute_error():
    with refused(AttributeError, "workbench", "serverles"):
        workbench.serverles  # noqa: B018 - looking it up is the point


def modules_after(script):
    """Return the modules that a fresh process has loaded after a script."""
    script += "\nimport sys; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    return set(printed.stdout.decode().split())


@pytest.mark.parametrize(
    ("wanted", "free_of"),
    [
        pytest.param("workbench", HEAVY, id="the root"),
        pytest.param("workbench.widgets as w; w.App", UNSEEN, id="the app"),
        pytest.param("workbench as wb; wb.Experiment", (*HEAVY, *ENGINES, "numpy"), id="a value"),
    ],
)
def test_importing_it_loads_nothing_heavy(wanted, free_of):
    assert not modules_after(f"import {wanted}") & set(free_of)


SIMULATED = """
import workbench as wb
model = wb.Registry({path!r})["digits-mlp-small"]
deployment = wb.Serverless(memory_mb=2048, max_concurrency=20)
trace = wb.poisson(rate=100, duration=10, seed=1)
experiment = wb.Experiment(model, deployment, trace)
run = experiment.{how}
"""


@pytest.mark.parametrize(
    ("how", "needed"),
    [
        ("simulate(wb.ServiceTimes({1: 0.01}), cold_start=0.3)", {"polars"}),
        ("predict(wb.ServiceTimes({1: 0.01}))", set()),
    ],
    ids=["simulate", "predict"],
)
@pytest.mark.usefixtures("at_home")
def test_knowing_by_computation_loads_neither_cloud_nor_model(registry, how, needed):
    find_outcomes(registry["digits-mlp-small"])  # its answers, which are kept

    loaded = modules_after(SIMULATED.format(path=str(registry.path), how=how))

    assert not loaded & (set(HEAVY) | set(ENGINES)) - needed
