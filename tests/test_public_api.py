"""What `import workbench` offers: complete, sorted, light, and hidden by no submodule."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import workbench
from workbench import _HOME

HEAVY = ("altair", "boto3", "ipywidgets", "numba", "onnx", "onnxruntime", "polars", "sklearn")
UNSEEN = ("altair", "boto3", "numba", "onnx", "onnxruntime", "sklearn")  # an app is shown without


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
    with pytest.raises(AttributeError, match="no attribute 'serverles'"):
        workbench.serverles  # noqa: B018 - looking it up is the point


@pytest.mark.parametrize(
    ("wanted", "free_of"), [("workbench", HEAVY), ("workbench.widgets as w; w.app", UNSEEN)]
)
def test_importing_it_loads_nothing_heavy(wanted, free_of):
    script = f"import sys; import {wanted}; print(set({free_of}) & set(sys.modules))"

    printed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)

    assert printed.stdout.decode().strip() == "set()"
