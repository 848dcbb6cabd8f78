"""What users say of a version, beside what is measured."""

import numpy as np
import pytest

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.registry.api import Registry

TRAITS = {"licence": "MIT", "reading-age": 12, "price": 0.5, "reviewed": True}


@pytest.fixture
def mine(tmp_path):
    return Registry(tmp_path)


def test_traits_keep_their_types(mine, model):
    mine.register("group", model.path, traits={**TRAITS, "rows": np.int64(3)})

    kept = Registry(mine.path).version("group", 1).traits.user
    assert kept == {**TRAITS, "rows": 3}
    assert [type(value) for value in kept.values()] == [str, int, float, bool, int]


def test_a_version_without_traits_has_none(mine, model):
    assert mine.register("group", model.path).traits.user == {}
    assert "licence" not in mine.table().columns


def test_the_table_has_a_column_for_each_of_them(mine, model):
    mine.register("a", model.path, traits={"licence": "MIT", "price": 1, "mixed": True})
    mine.register("b", model.path, traits={"price": 2.5, "mixed": "no"})

    table = mine.table()
    assert table.columns[-3:] == ["licence", "mixed", "price"]
    assert table["licence"].to_list() == ["MIT", None]
    assert table["price"].to_list() == [1.0, 2.5]
    assert table["mixed"].to_list() == ["True", "no"]
    assert "licence</th>" in mine._repr_html_()


@pytest.mark.parametrize(
    "name", ["accuracy", "group", "approval", "task", "input", "sha256", "name"]
)
def test_a_name_that_the_registry_uses_is_refused(mine, model, name):
    with refused(InvalidInput, f"'{name}'", "trait"):
        mine.register("group", model.path, traits={name: 1})
    assert mine.groups() == []


@pytest.mark.parametrize(
    ("traits", "named"),
    [
        ({"latency": 0.1}, ["latency", "select"]),
        ({"reading age": 12}, ["trait", "reading age"]),
        ({"": 12}, ["trait", "''"]),
        ({1: 12}, ["trait", 1]),
        ({"a" * 64: 12}, ["trait", "a" * 64]),
        ({"licence": ""}, ["licence", 256, 0]),
        ({"licence": "M" * 257}, ["licence", 256, 257]),
        ({"licence": None}, ["licence", None]),
        ({"licence": ["MIT"]}, ["licence", "['MIT']"]),
        ({"price": float("nan")}, ["price", "nan"]),
        ({"price": 2**60}, ["price", 2**60]),
        (["licence"], ["traits", "['licence']"]),
    ],
)
def test_what_is_no_trait_is_refused(mine, model, traits, named):
    with refused(InvalidInput, *named):
        mine.register("group", model.path, traits=traits)
    assert mine.groups() == []


def test_another_registry_s_traits_are_checked_before_they_are_adopted(mine, model):
    import dataclasses
    import json

    facts = {"traits": json.loads(json.dumps(dataclasses.asdict(model.traits))), "lineage": {}}
    facts["traits"]["user"] = {"accuracy": 1.0}
    content = {"content": model.path.read_bytes(), "samples": model.samples_path.read_bytes()}

    with refused(InvalidInput, "accuracy", "trait"):
        mine.restore("group", 1, **content, facts=facts)
    assert mine.groups() == []


def test_the_reason_of_an_approval_is_kept(mine, model):
    mine.register("group", model.path)
    mine.approve("group", 1, why="first of three by accuracy and cost")

    assert mine.history("group", 1)[-1].why == "first of three by accuracy and cost"
