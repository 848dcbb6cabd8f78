"""Whose requests the model server stacks into one run."""

import asyncio
from functools import partial

import numpy as np
import pytest

from tests.graphs import linear
from workbench.backends.sagemaker import NPY, pack_npy
from workbench.cloud.packaging import archive, unpack
from workbench.modelserver.contract import Contract
from workbench.modelserver.engine import Engine
from workbench.modelserver.formats import JSON
from workbench.modelserver.http import Request
from workbench.modelserver.options import ServerOptions, parse
from workbench.registry.api import Registry
from workbench.registry.invariance import BatchInvariance, NeighbourEffect

CHANGED = BatchInvariance(effects=(NeighbourEffect(beside="inf", rows=1, changed=1),))


@pytest.fixture(name="folder_of")
def _folder_of(tmp_path):
    def folder_of(found):
        """The folder that a container unpacks, of a model that was found to be like this."""
        model = Registry(tmp_path / "registry").register("linear", linear())
        object.__setattr__(model.traits, "batch_invariance", found)
        return unpack(archive(model, tmp_path / "model.tar.gz"), tmp_path / "model")

    return folder_of


def ask(folder, bodies, content_type, **options):
    """Rows in each run where clients ask at once, what they are answered, what the log says."""
    engine, sizes, answers = Engine(folder), [], [None] * len(bodies)
    answer = engine.run

    def run(rows):
        sizes.append(len(rows))
        return answer(rows)

    engine.run = run

    async def play():
        contract = Contract(engine, ServerOptions(max_batch=8, **options))
        for place, body in enumerate(bodies):
            request = Request()
            request.method, request.path = "POST", "/invocations"
            request.headers, request.body = {"content-type": content_type}, body
            contract.handle(request, partial(answers.__setitem__, place))
        while None in answers:
            await asyncio.sleep(0)
        return contract.note

    return sizes, answers, asyncio.run(play())


def runs(folder, **options):
    """Rows in each run, where three clients ask at once, and what the log says."""
    bodies = [pack_npy(np.full((2, 3), number, np.float32)) for number in range(3)]
    sizes, answers, note = ask(folder, bodies, NPY, **options)
    assert {each.status for each in answers} == {200}
    return sizes, note


def test_requests_of_a_model_that_is_invariant_are_stacked(folder_of):
    assert runs(folder_of(BatchInvariance())) == ([6], "")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (CHANGED, "changes"),
        (BatchInvariance(deterministic=False), "non-deter"),
        (None, "not check"),
    ],
)
def test_requests_of_other_models_are_not(folder_of, found, why):
    sizes, note = runs(folder_of(found))

    assert sizes == [2, 2, 2]
    assert why in note


def test_they_are_if_that_is_asked_for_by_name(folder_of):
    assert runs(folder_of(CHANGED), stack="even-if-answers-change") == ([6], "")


def test_whole_numbers_in_front_leave_the_fractions_behind_them_alone(folder_of):
    folder, bodies = folder_of(BatchInvariance()), [b"[[1, 2, 3]]", b"[[0.5, 0.75, 0.25]]"]
    alone = [ask(folder, [each], JSON)[1][0].body for each in bodies]

    sizes, answers, _ = ask(folder, bodies, JSON)

    assert (sizes, [each.body for each in answers]) == ([2], alone)


def test_a_request_that_does_not_fit_is_refused_alone(folder_of):
    bodies = [b"[[1, 2, 3]]", b"[[1, 2]]", b"[[4, 5, 6]]"]

    sizes, answers, _ = ask(folder_of(BatchInvariance()), bodies, JSON)

    assert (sizes, [each.status for each in answers]) == ([2], [200, 400, 200])


def test_a_folder_that_no_registry_packed_is_not_known_to_be_invariant(tmp_path):
    (tmp_path / "model.onnx").write_bytes(linear())

    assert runs(tmp_path)[0] == [2, 2, 2]


def test_stacking_is_an_option_and_a_variable():
    assert parse(["serve"], {}).stack == "if-answers-stay"
    variables = {"WORKBENCH_STACK": "even-if-answers-change"}
    assert parse(["serve"], variables).stack == "even-if-answers-change"
    with pytest.raises(SystemExit):
        parse(["serve", "--stack", "yes"], {})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "got none"),
        (["serve", "--prot", "80"], "--prot"),
        (["serve", "--port"], "--port"),
        (["serve", "--port", "x"], "'x'"),
        (["serve", "80"], "80"),
    ],
)
def test_wrong_options_end_it_with_2_and_the_reason(arguments, said, capsys):
    with pytest.raises(SystemExit) as refused:
        parse(arguments, {})

    assert refused.value.code == 2
    assert said in capsys.readouterr().err


def test_an_option_goes_before_its_variable():
    assert parse(["serve", "--port=1"], {"SAGEMAKER_BIND_TO_PORT": "2"}).port == 1
    assert parse(["serve"], {"SAGEMAKER_BIND_TO_PORT": "2"}).port == 2
