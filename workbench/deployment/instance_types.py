"""Instance types of SageMaker and EC2, their vCPUs and memory, from data/instances.csv."""

import csv
import re
from collections.abc import Mapping
from functools import cache

from workbench.errors import InvalidInput, NotFound
from workbench.files import find_data
from workbench.validation import suggest


def instance_vcpus(instance_type: str) -> float:
    """Return the vCPUs of an instance type, from data/instances.csv.

    Raises:
        InvalidInput: It does not look like one.
        NotFound: The type is not in the table.

    >>> instance_vcpus("ml.m5.xlarge")
    4.0
    """
    check_instance_type("instance_type", instance_type)
    return float(find_instance(instance_type)["vcpus"])


def find_instance(name: str) -> Mapping[str, str]:
    """Return the row of an instance type, of SageMaker or of EC2, in data/instances.csv.

    >>> find_instance("m7g.xlarge")["architecture"]
    'arm64'
    """
    table = _instances()
    if name not in table:
        alike = [each for each in table if each.startswith("ml.") == name.startswith("ml.")]
        raise NotFound(
            f"The vCPUs of {name!r} are not known.{suggest(name, alike)} Known: "
            f"{', '.join(sorted(alike))}. Use one of them, or measure a profile on yours."
        )
    return table[name]


def instance_memory(instance_type: str) -> float | None:
    """Return the bytes of memory of an instance type; None where it is not in the table.

    >>> instance_memory("ml.m5.large") == 8 * 1024**3
    True
    """
    row = _instances().get(instance_type)
    return None if row is None else 1024**3 * float(row["memory_gib"])


def check_instance_type(name: str, value: object) -> str:
    """Return an instance type of SageMaker, known to have the form of one."""
    if not (isinstance(value, str) and re.fullmatch(r"ml\.[a-z0-9-]+\.[a-z0-9-]+", value)):
        raise InvalidInput(f"{name} must look like 'ml.m5.large', got {value!r}.")
    return value


@cache
def _instances() -> dict[str, dict[str, str]]:
    text = (find_data() / "instances.csv").read_text(encoding="utf-8")
    return {row["instance_type"]: row for row in csv.DictReader(text.splitlines())}
