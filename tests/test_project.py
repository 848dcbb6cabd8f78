"""The habits of the project: files, names, versions and what is shipped agree with one another."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CORE = {
    *(
        "altair",
        "anywidget",
        "boto3",
        "botocore",
        "ipython",
        "ipywidgets",
        "jinja2",
        "jupyterlab",
        "numba",
        "numpy",
        "onnx",
        "onnxruntime",
    ),
    *("platformdirs", "polars", "pooch", "requests", "scikit-learn", "scipy", "shtab", "skl2onnx"),
    *("threadpoolctl", "traitlets", "vl-convert-python"),
}
SHIPPED = {  # from folders beside workbench/
    "workbench.data",
    "workbench.notebooks",
    "workbench.notebooks.classroom",
    "workbench.notebooks.reports",
}
MODULES = sorted((ROOT / "workbench").rglob("*.py"))
NAMES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in MODULES
}
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
MADE = {"__pycache__", ".ipynb_checkpoints", "_build"}  # folders that tools make
FOLDERS = "workbench", "tests", "data", "notebooks", "site"
FILES = [
    path
    for path in [*ROOT.iterdir(), *(ROOT / ".ci").iterdir()]
    + [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    if path.is_file()
    and not MADE & set(path.parts)
    and not path.name.startswith(".coverage")
    and path.name != ".git"  # a file in a checkout beside another one
]


def name_of(path):
    return str(path.relative_to(ROOT))


def requirements():
    """Every requirement of pyproject.toml, of the core and of its extras, but for itself."""
    project = PROJECT["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    every = [Requirement(text) for each in lists for text in each]
    return [each for each in every if each.name != project["name"]]


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pinned}


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_a_pin_satisfies_each_requirement(requirement):
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_the_core_depends_on_these_and_no_others():
    assert {Requirement(text).name for text in PROJECT["project"]["dependencies"]} == CORE


def test_conda_gets_the_python_and_the_packages_of_pyproject():
    *conda, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]

    assert conda == [f"python{PROJECT['project']['requires-python']}", "pip"]
    assert pip == {"pip": ["-e .[dev]"]}


def test_this_python_is_one_that_the_project_supports():
    supported = SpecifierSet(PROJECT["project"]["requires-python"])

    assert ".".join(map(str, sys.version_info[:3])) in supported


def test_what_the_modules_import_is_required():
    required = {canonicalize_name(each.name) for each in requirements()}
    owners = packages_distributions()

    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for top in {name.split(".")[0] for name in names} - {"workbench"}:
                owned = {canonicalize_name(owner) for owner in owners.get(top, [])}
                assert top in sys.stdlib_module_names or owned & required, f"{path}: {top}"


def test_every_package_folder_is_shipped():
    folders = {init.parent for init in (ROOT / "workbench").rglob("__init__.py")}
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders}

    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages | SHIPPED


def test_the_readme_of_the_data_names_every_file():
    readme = (ROOT / "data" / "README.md").read_text()
    files = [p for p in FILES if p.is_relative_to(ROOT / "data") and p.suffix not in (".py", ".md")]

    assert [name_of(p) for p in files if p.name not in readme] == []


def test_no_module_is_a_drawer_for_odds_and_ends():
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}

    assert [name_of(path) for path in MODULES if drawers & {path.stem, path.parent.name}] == []


def test_every_module_says_what_it_is():
    silent = [path for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]

    assert [name_of(path) for path in silent] == []


def test_no_module_unpickles_a_file():
    unpickling = re.compile(r"\b(pickle|joblib|torch|dill|cloudpickle)\.load\b|allow_pickle=True")

    assert [name_of(path) for path in MODULES if unpickling.search(path.read_text())] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_a_notebook_tells_and_leaves_the_doing_to_modules(path):
    notebook = nbformat.read(path, as_version=4)

    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs, "run nbstripout"
            assert not re.search(r"^\s*(def|class) ", cell.source, re.MULTILINE)
            most = 12 if "parameters" in cell.metadata.get("tags", ()) else 8
            assert len([line for line in cell.source.splitlines() if line.strip()]) <= most


def test_no_file_names_a_path_of_one_machine_or_the_host_of_an_index():
    machine = rf"{re.escape(str(ROOT))}\b|(?<![\w.])/(home|Users|root|work)/\w"
    index = r"py[p]i\.org|[p]ythonhosted|[i]ndex-url|[f]ind-links|[n]pmjs\.(org|com)"
    either = re.compile(f"{machine}|{index}")
    text = [path for path in FILES if b"\0" not in path.read_bytes()]

    assert [name_of(path) for path in text if either.search(path.read_text())] == []


CONTRACTS = PROJECT["tool"]["importlinter"]["contracts"]
FLOORS, *ORDERS = (each["layers"] for each in CONTRACTS if each["type"] == "layers")
PARTS = (  # what of a package has a place of its own: no import points to the left, nor across a |
    "report.mlflow_log > report",
    "comparison | comparison.curves > comparison.prediction_errors",
    "experiment.sweeps > experiment > experiment.simulation | experiment.prediction",
    "ensembles.server > backends > prediction | papers > simulator | queueing > ensembles",
    "prediction.hybrid > prediction",
    "papers.batch | papers.model_tables | papers.mulambda",
    "run.costs | run.drift > run",
    "service_times > tables | compilation > quantiles | settings > service_times.speed",
    "tables > modelserver > service_times.speed",
    "tables > tables.cells",
)


def packages_of(layers):
    return set(re.findall(r"\w+", " ".join(layers)))


def order_of(floor):
    """Return the layers of a floor, the highest first: a floor of one package is one."""
    return next((each for each in ORDERS if packages_of(each) == packages_of([floor])), [floor])


LAYERS = [packages_of([layer]) for floor in FLOORS for layer in order_of(floor)]


def layer_of(name):
    """The number of a module's layer, 0 for the highest; -1 for the package itself."""
    top = [*name.split("."), ""][1]
    return next((i for i, layer in enumerate(LAYERS) if top in layer), -1)


def home_of(name, homes):
    """Return the innermost of these modules and packages that has a module; None if none has."""
    return max((each for each in homes if f"{name}.".startswith(f"{each}.")), key=len, default=None)


def points_left(importer, imported):
    """Whether the import of a module by another goes against an order of parts."""
    for order in PARTS:
        steps = enumerate(order.split(" > "))
        places = {f"workbench.{part}": at for at, step in steps for part in step.split(" | ")}
        here, there = home_of(importer, places), home_of(imported, places)
        if here and there and here != there and places[here] >= places[there]:
            return True
    return False


def imports_of(name, *, at_once=False):
    """The modules of ours that a module imports, at any time or when it is imported itself."""
    waiting, found = [ast.parse(NAMES[name].read_text())], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found.update(each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{each.name}" for each in node.names}
            found |= inner & NAMES.keys() or {node.module}
        typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        later = typing or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if not (at_once and later):
            waiting += ast.iter_child_nodes(node)
    return sorted(found & NAMES.keys() - {name})


def longest_chain(name, found):
    if name not in found:
        chains = [longest_chain(each, found) for each in imports_of(name, at_once=True)]
        found[name] = [name, *max(chains, key=len, default=[])]
    return found[name]


def test_no_chain_of_imports_is_longer_than_twelve_modules():
    found = {}
    longest = max((longest_chain(name, found) for name in NAMES), key=len)

    assert len(longest) <= 12, " > ".join(longest)


def test_there_are_ten_floors_and_each_has_an_order():
    assert len(FLOORS) <= 10
    assert [floor for floor in FLOORS if order_of(floor) == [floor] and ":" in floor] == []


def test_the_floors_of_contributing_are_those_of_the_contract():
    page = (ROOT / "CONTRIBUTING.md").read_text().partition("| floor |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`(\w+)`", line.split("|")[2]) for line in page.splitlines()[2:]]

    assert rows == [floor.split(" : ") for floor in FLOORS]


def test_no_part_of_a_package_imports_what_stands_left_of_it():
    assert points_left("workbench.run.record", "workbench.run.costs")
    assert not points_left("workbench.run.costs", "workbench.run.record")
    assert [(a, b) for a in NAMES for b in imports_of(a) if points_left(a, b)] == []


def test_no_string_names_a_module_of_a_higher_layer():
    for name, path in NAMES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = node.value.partition(":")[0]
                higher = "." in named and named in NAMES and layer_of(named) < layer_of(name)
                assert not higher or name == "workbench", f"{name} names {node.value}"
