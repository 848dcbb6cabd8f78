"""The image that a local cloud runs: the workbench's own, which is the workbench that runs here.

Another image, and code that comes with a model, would be replaced by the workbench's model server:
a rehearsal that says yes where AWS says something else. They are refused by name, unless the model
asks for it.
"""

import re
import tarfile
import zlib
from collections.abc import Container, Mapping
from pathlib import Path

SERVE_ANYWAY = "WORKBENCH_SERVE_ANYWAY"
"""A container's variable: with "1" the workbench's model server answers in place of its image and
code."""

PROGRAMS = ("code/inference.py", "inference.py")
"""Where SageMaker's own images look for a model's code in its archive (SageMaker Python SDK)."""

_PROGRAM = "SAGEMAKER_PROGRAM"  # the code's name, for SageMaker's own images
_IMAGE = re.compile(r".*/workbench([:@].*)?")


def is_own_image(uri: str) -> bool:
    """Return whether an image is the workbench's.

    >>> is_own_image("123456789012.dkr.ecr.us-east-1.amazonaws.com/workbench:latest")
    True
    """
    return _IMAGE.fullmatch(uri) is not None


def serves_anyway(environment: Mapping[str, str]) -> bool:
    """Return whether a container wants our model server whatever it holds."""
    return environment.get(SERVE_ANYWAY) == "1"


def find_program(names: Container[str], environment: Mapping[str, str]) -> str:
    """Return the code that a model brings, by its files' names and its container's variables.

    >>> find_program({"model.onnx", "code/inference.py"}, {})
    'code/inference.py'
    """
    found = (name for name in PROGRAMS if name in names)
    return next(found, environment.get(_PROGRAM, ""))


def describe_program(name: str) -> str:
    """Return why a model with code of that name is not served, and what to do."""
    return (
        f"The model has code of its own, {name}, which the local cloud does not run: models are "
        f"served by the workbench's model server. Leave the code out, or set {SERVE_ANYWAY}=1 in "
        "the container's Environment to have the model server answer."
    )


def list_names(archive: Path) -> set[str]:
    """Return the names of the files in a tar.gz; none where it cannot be read."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            return {name.removeprefix("./") for name in tar.getnames()}
    except (tarfile.TarError, EOFError, OSError, zlib.error):
        return set()  # whoever unpacks it says why
