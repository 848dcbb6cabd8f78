"""The extras of the package: what each brings, and what to type where it is missing."""

import importlib.util

from workbench.errors import NotAvailable

MODULES = {
    "boosted": ("onnxmltools",),
    "cloud": ("anycrc", "awslambdaric", "httptools", "moto", "orjson", "uvloop"),
    "forecast": ("statsforecast",),
    "mlflow": ("mlflow",),
    "report": ("jupyter_client", "nbclient", "nbconvert", "nbformat", "papermill"),
    "slides": ("nbconvert", "sphinx_revealjs"),
    "voila": ("ipykernel", "jupyter_client", "nbformat", "tornado", "voila"),
}
"""What can be imported once an extra is installed, by its name."""


def require_extra(extra: str, what: str) -> None:
    """Check that an extra is installed, without importing what it brings.

    Args:
        extra: Its name.
        what: The subject of the sentence, such as "A local cloud".

    Raises:
        NotAvailable: It is not, or not whole.
    """
    missing = find_missing(extra)
    if missing:
        raise NotAvailable(f"{what} needs {', '.join(missing)}: {tell_install(extra)}.")


def find_missing(extra: str) -> tuple[str, ...]:
    """Return which modules of an extra cannot be imported here."""
    return tuple(name for name in MODULES[extra] if importlib.util.find_spec(name) is None)


def tell_install(*extras: str) -> str:
    """Return what to type for extras, quoted: some shells take brackets for a pattern.

    >>> tell_install("cloud", "report")
    "pip install 'inference-workbench[cloud,report]'"
    """
    return f"pip install 'inference-workbench[{','.join(extras)}]'"
