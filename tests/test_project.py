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


def dotted(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path): path for path in MODULES}
CONTRACTS = {each["name"].split()[0]: each for each in PROJECT["tool"]["importlinter"]["contracts"]}
LAYERS = [set(layer.split(" | ")) for layer in CONTRACTS["imports"]["layers"]]


def layer_of(name):
    """The number of a module's layer, 0 for the highest; -1 for the package itself."""
    top = [*name.split("."), ""][1]
    return next((i for i, layer in enumerate(LAYERS) if top in layer), -1)


def imported_at_once(name):
    """The modules of ours that a module imports when it is imported itself."""
    waiting, found = [ast.parse(NAMES[name].read_text())], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found.update(each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{each.name}" for each in node.names}
            found |= inner & NAMES.keys() or {node.module}
        typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not typing and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)
    return sorted(found & NAMES.keys() - {name})


def longest_chain(name, found):
    if name not in found:
        chains = [longest_chain(each, found) for each in imported_at_once(name)]
        found[name] = [name, *max(chains, key=len, default=[])]
    return found[name]


@pytest.mark.parametrize(("package", "most"), [("workbench", 24), ("workbench.localcloud", 12)])
def test_the_longest_chain_of_imports_is_short(package, most):
    found = {}
    inside = [name for name in NAMES if f"{name}.".startswith(f"{package}.")]
    longest = max((longest_chain(name, found) for name in inside), key=len)

    assert len(longest) <= most, " > ".join(longest)


def test_no_string_names_a_module_of_a_higher_layer():
    for name, path in NAMES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = node.value.partition(":")[0]
                higher = "." in named and named in NAMES and layer_of(named) < layer_of(name)
                assert not higher or name == "workbench", f"{name} names {node.value}"


def test_the_local_cloud_may_import_these_and_no_others():
    """The contract in pyproject.toml has to list what is forbidden; this lists what is not."""
    lower = LAYERS[layer_of("workbench.localcloud") + 1 :]
    below = {f"workbench.{each}" for layer in lower for each in layer}
    cloud = {name for name in NAMES if name.startswith("workbench.cloud.") and name.count(".") == 2}
    forbidden = set(CONTRACTS["localcloud"]["forbidden_modules"])

    assert (below - {"workbench.cloud"} | cloud) - forbidden == {
        *("workbench.errors", "workbench.extras", "workbench.units", "workbench.validation"),
        "workbench.modelserver",
        "workbench.scaling",
        "workbench.quantiles",  # the rule of CloudWatch's percentiles
        *("workbench.deployment", "workbench.pricing"),  # limits and prices
        *("workbench.cloud.packaging", "workbench.cloud.price_list"),
        "workbench.cloud.aws",  # the value that it hands out
    }


def test_no_chain_of_imports_is_longer_than_twelve_modules():
    depths = {}

    def depth(name):
        if name not in depths:
            depths[name] = 0
            depths[name] = 1 + max(map(depth, imports_of(name)), default=0)
        return depths[name]

    assert max(map(depth, NAMES)) <= 12


def imports_of(name):
    """Return the modules of the workbench that a module imports when it is loaded."""
    waiting = list(ast.parse(NAMES[name].read_text()).body)
    for node in waiting:
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{each.name}" for each in node.names} | {node.module}
            yield from names & NAMES.keys() - {name}
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef) and not (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            waiting += node.body
