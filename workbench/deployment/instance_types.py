"""Instance types of SageMaker and their vCPUs, from data/instances.csv."""

import csv
import difflib
import re
from functools import cache
from importlib.resources import files

from workbench.errors import InvalidInput, NotFound


def instance_vcpus(instance_type: str) -> float:
    """Return the vCPUs of an instance type, from data/instances.csv.

    Raises:
        InvalidInput: It does not look like one.
        NotFound: The type is not in the table.

    >>> instance_vcpus("ml.m5.xlarge")
    4.0
    """
    check_instance_type("instance_type", instance_type)
    table = _instances()
    if instance_type not in table:
        near = difflib.get_close_matches(instance_type, table, n=3) or sorted(table)
        raise NotFound(
            f"The vCPUs of {instance_type!r} are not known: use one of {', '.join(near)}, "
            "or measure a profile on it."
        )
    return table[instance_type]


def check_instance_type(name: str, value: object) -> str:
    """Require the form of an instance type.

    Raises:
        InvalidInput: It has another.
    """
    if not (isinstance(value, str) and re.fullmatch(r"ml\.[a-z0-9-]+\.[a-z0-9-]+", value)):
        raise InvalidInput(f"{name} must look like 'ml.m5.large', got {value!r}.")
    return value


@cache
def _instances() -> dict[str, float]:
    text = files("workbench.data").joinpath("instances.csv").read_text(encoding="utf-8")
    return {row["instance_type"]: float(row["vcpus"]) for row in csv.DictReader(text.splitlines())}
