"""No module outside the types, their adapters and their backends names an inference type."""

import ast
from pathlib import Path

from workbench.deployment import KINDS

ROOT = Path(__file__).parents[2] / "workbench"
NAMES = {kind.__name__ for kind in KINDS.values()}
FREE = (
    "deployment/",  # the types themselves
    "cloud/adapters/",  # an adapter a type
    "cloud/transform_jobs.py",  # what the adapter of batch transform starts
    "backends/",  # a backend a type
    "localcloud/lambda_/",  # Lambda itself, with the limits of the type
    "papers/batch.py",  # a published evaluation, of Lambda
    "cli/demo.py",  # an example, on this machine
    "cli/serve.py",  # models of this machine
    "lessons/",  # examples of a type each
    "measuring/outcomes.py",  # what a model answers on this machine
    "widgets/presets.py",  # examples
)
MODULES = [
    path
    for path in sorted(ROOT.rglob("*.py"))
    if not path.relative_to(ROOT).as_posix().startswith(FREE)
]


def types_in(tree):
    """Yield the inference types that a module imports or takes from the package's root."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if module.startswith("workbench"):
                yield from {each.name for each in node.names} & NAMES
            case ast.Attribute(value=ast.Name(id="wb" | "workbench"), attr=name) if name in NAMES:
                yield name


def kinds_in(tree):
    """Yield the kinds that a module compares something with."""
    kinds = set(KINDS) - {"local", "lambda", "async"}  # words with other meanings too
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare | ast.MatchValue):
            for part in ast.iter_child_nodes(node):
                if isinstance(part, ast.Constant) and part.value in kinds:
                    yield part.value


def test_no_other_module_names_an_inference_type():
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
    found = {str(path): [*types_in(tree), *kinds_in(tree)] for path, tree in trees.items()}

    assert {path: names for path, names in found.items() if names} == {}


def test_the_free_modules_exist():
    assert all((ROOT / each).exists() for each in FREE)
