"""What batching does to answers: found out when a model is registered, and kept with it."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.graphs import graph, linear, lookup, one_node
from tests.refused import refused
from workbench.errors import InvalidModel, InvocationError
from workbench.registry.api import Registry, Samples
from workbench.registry.invariance import BatchInvariance
from workbench.registry.invariance_probe import MANY_SIZES, SIZES, probe
from workbench.registry.onnx import Session

SEED = 3  # of weights: each graph has the same, whatever ran before
ROWS = np.random.default_rng(SEED).normal(size=(60, 4)).astype("f4")
AXIS = numpy_helper.from_array(np.array([0]), "axis")
node = helper.make_node


def model(*nodes, row=(4,), output=("n", None), weights=(AXIS,), kind=TensorProto.FLOAT):
    """The bytes of a model of float rows "x" whose answer is "y"."""
    inputs = [("x", TensorProto.FLOAT, ["n", *row])]
    return graph(nodes, inputs, [("y", kind, output)], weights).SerializeToString()


def dynamic(*more, kind=TensorProto.FLOAT, output=("n", None)):
    """A layer of 8 bits whose scale is that of the whole batch."""
    weights = {
        "w": np.random.default_rng(SEED).integers(-127, 127, (4, 3)).astype("int8"),
        "zero": np.array(0, "int8"),
    }
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "scale", "point"]),
        node("MatMulInteger", ["q", "w", "point", "zero"], ["sums"]),
        node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
        node("Mul", ["floats", "scale"], ["y" if not more else "scores"]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    return model(*nodes, *more, weights=tensors, kind=kind, output=output)


def recurrent(answer):
    """A network that reads the first axis as time, and answers with its states or the last one."""
    weights = [
        numpy_helper.from_array(
            np.random.default_rng(SEED).normal(size=(1, 5, size)).astype("f4"), name
        )
        for name, size in (("w", 4), ("r", 5))
    ]
    outputs = ["y"] if answer == "states" else ["", "y"]
    nodes = [node("RNN", ["x", "w", "r"], outputs, hidden_size=5)]
    return model(*nodes, row=(1, 4), weights=weights, output=[None] * (5 - len(outputs)))


SUM = node("ReduceSum", ["x", "axis"], ["sum"], keepdims=1)
CHANGING = {
    "softmax over rows": model(node("Softmax", ["x"], ["y"], axis=0)),
    "normalised over rows": model(SUM, node("Div", ["x", "sum"], ["y"])),
    "quantised by the batch": dynamic(),
}


def probed(content, rows=ROWS, **settings):
    return probe(lambda threads: Session(content, threads=threads), rows, **settings)


def company(found, beside):
    return next(each for each in found.effects if each.beside == beside)


@pytest.mark.parametrize("content", CHANGING.values(), ids=CHANGING)
@pytest.mark.parametrize("rows", [1, 60])
def test_answers_that_depend_on_the_batch_are_found(content, rows):
    found = probed(content, ROWS[:rows])

    assert found.verdict == "changes"
    assert company(found, "ordinary rows").changed >= 40
    assert company(found, "a large value").deviation > 0.5


def test_a_network_that_reads_rows_as_time_is_found():
    found = probed(recurrent("states"), ROWS[:, None])

    assert found.verdict == "changes"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (model(SUM, node("Identity", ["sum"], ["y"])), "2 rows got 1 answer "),
        (model(node("ReduceSum", ["x", "axis"], ["y"], keepdims=0), output=[None]), "1 row got 4 "),
        (model(node("Concat", ["x", "x"], ["y"], axis=0)), "1 row got 2 answers"),
        (
            model(
                node("Unsqueeze", ["x", "axis"], ["u"]),
                node("Concat", ["u", "u"], ["y"], axis=0),
                output=[2, "n", 4],
            ),
            "1 row got 2 answers",
        ),
        (recurrent("last"), "2 rows got 1 answer"),
    ],
)
def test_another_number_of_answers_than_rows_is_a_fault(content, fault):
    row = Session(content).signature.input.shape

    found = probed(content, ROWS.reshape(-1, *row))

    assert found.verdict == "broken"
    assert found.fault.startswith(fault)


def test_answers_in_another_order_are_a_fault():
    ends = [numpy_helper.from_array(np.array([v]), k) for k, v in (("a", -1), ("b", -(10**9)))]
    reverse = model(node("Slice", ["x", "a", "b", "axis", "a"], ["y"]), weights=[AXIS, *ends])

    assert "another order" in probed(reverse).fault


def test_labels_of_a_dynamic_model_change_beside_a_large_value_alone():
    found = probed(
        dynamic(
            node("ArgMax", ["scores"], ["y"], axis=1, keepdims=0),
            kind=TensorProto.INT64,
            output=["n"],
        )
    )
    large = company(found, "a large value")

    assert large.labels > 10
    assert large.labels == large.changed
    assert large.labels > company(found, "ordinary rows").labels


def test_scores_may_change_and_no_label():
    class Shift:
        """Adds the same to every score, in company."""

        def run(self, batch):
            return batch + len(batch) - 1

    found = probe(lambda _: Shift(), ROWS, labels=True)

    assert found.verdict == "changes"
    assert company(found, "ordinary rows").labels == 0
    assert company(found, "ordinary rows").changed == 51


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE])
def test_a_linear_model_is_invariant(kind):
    dtype = helper.tensor_dtype_to_np_dtype(kind)

    found = probed(linear(kind=kind), ROWS[:, :3].astype(dtype))

    assert found.invariant
    assert found.deviation <= found.tolerance
    assert {each.beside for each in found.effects} >= {"ordinary rows", "inf", "NaN"}


def test_constant_answers_and_indices_are_invariant():
    constant = model(node("Sub", ["x", "x"], ["y"]))

    assert probed(constant, np.ones((1, 4), "f4")).verdict == "identical"
    assert probed(lookup(), np.zeros(60, "i8")).verdict == "identical"


def test_sums_in_another_order_are_tolerated():
    class Noise:
        def run(self, batch):
            return batch * np.float32(1 + 1e-6 * (len(batch) > 1))

    found = probe(lambda _: Noise(), ROWS)

    assert found.verdict == "within tolerance"
    assert 0 < found.deviation < found.tolerance


@pytest.mark.parametrize("attributes", [{}, {"seed": 1.0}])
def test_random_answers_are_reported_and_not_compared(attributes):
    noise = node("RandomNormalLike", ["x"], ["noise"], **attributes)

    found = probed(model(noise, node("Add", ["x", "noise"], ["y"])))

    assert found.verdict == "non-deterministic"
    assert not found.effects


def test_what_a_model_refuses_itself_is_no_company():
    class NoMissing(Session):
        def run(self, batch):
            if not np.isfinite(batch).all():
                raise InvocationError("NaN or inf")
            return super().run(batch)

    found = probe(lambda _: NoMissing(linear()), ROWS[:, :3])

    assert found.verdict == "identical"
    assert {each.beside for each in found.effects} == {
        *("ordinary rows", "a large value", "large values")
    }


def test_every_size_and_both_numbers_of_threads_are_tried():
    tried = set()

    class Spy:
        def __init__(self, threads):
            self.threads = threads

        def run(self, batch):
            tried.add((self.threads, len(batch)))
            return batch

    assert not probe(Spy, ROWS).left_out
    assert tried == {(threads, size) for threads in (1, 2) for size in SIZES}


def test_a_slow_model_is_tried_in_twos_and_threes_at_least():
    now, sizes = [0.0], set()

    class Slow:
        def run(self, batch):
            now[0] += 10.0 * len(batch)
            sizes.add(len(batch))
            return batch

    found = probe(lambda _: Slow(), ROWS, forest=True, clock=lambda: now[0])

    assert sizes == {1, 2, 3}
    assert "batches" in found.left_out
    assert "mixed rows" in found.left_out


def test_votes_that_tie_by_the_batch_are_found_among_thousands_of_rows():
    class Ties:
        """Answers some rows otherwise in a batch as large as no ordinary one."""

        def run(self, batch):
            return (batch[:, 0] * 1e4).astype("i8") + (len(batch) >= MANY_SIZES[1])

    assert probe(lambda _: Ties(), ROWS).verdict == "identical"
    assert company(probe(lambda _: Ties(), ROWS, forest=True), "ordinary rows").labels > 2000


def test_a_forest_is_recognised_and_tried(tmp_path):
    from sklearn.ensemble import RandomForestClassifier

    targets = (ROWS.sum(axis=1) > 0).astype(int)
    forest = RandomForestClassifier(5, random_state=0).fit(ROWS, targets)

    made = Registry(tmp_path).register("forest", forest, samples=Samples(ROWS, targets))

    ordinary = company(made.traits.batch_invariance, "ordinary rows")
    assert ordinary.rows > 1000


def test_the_trait_is_kept_and_shown(tmp_path):
    registry = Registry(tmp_path)
    said = []

    made = Registry(tmp_path, progress=said.append).register(
        "softmax", CHANGING["softmax over rows"]
    )
    plain = Registry(tmp_path, progress=said.append).register("linear", linear())

    assert registry["softmax:1"].traits == made.traits
    assert registry.table()["batch_invariance"].to_list() == ["identical", "changes"]
    assert "batching changes answers" in repr(made)
    assert "batching" not in repr(plain)
    (line,) = said
    assert line.startswith("softmax: Batching changes answers: ")


def test_a_trait_survives_json():
    found = probed(CHANGING["softmax over rows"])

    assert BatchInvariance.from_dict(json.loads(json.dumps(asdict(found)))) == found


def test_a_version_without_the_trait_is_not_checked(tmp_path):
    registry = Registry(tmp_path)
    made = registry.register("linear", linear())
    facts = asdict(made.traits)
    del facts["batch_invariance"]

    old = registry.restore(
        "old",
        1,
        content=made.path.read_bytes(),
        samples=made.samples_path.read_bytes(),
        facts={"traits": facts, "lineage": {}},
    )

    assert old.traits.batch_invariance is None
    assert registry.table()["batch_invariance"].to_list() == ["identical", "not checked"]


def test_a_broken_model_is_refused_with_its_row_counts(tmp_path):
    broken = one_node(
        "Concat", weights=[numpy_helper.from_array(np.ones((1, 3), "f4"), "w")], axis=0
    )

    with refused(InvalidModel, "1 row", "2 answers"):
        Registry(tmp_path).register("broken", broken)
    assert not Registry(tmp_path).groups()


def test_accuracy_is_that_of_rows_alone_and_kept_by_size(tmp_path):
    rows = np.eye(4, dtype="f4")[np.arange(64) % 4] + 1
    rows[::32] *= 1e4
    content = dynamic()
    alone = np.concatenate([Session(content).run(row[None]) for row in rows])
    samples = Samples(rows, alone.argmax(axis=1))

    made = Registry(tmp_path, progress=len).register(
        "int8", content, samples=samples, kind="classification"
    )

    by_size = dict(made.traits.batch_invariance.accuracy)
    assert made.traits.accuracy == by_size[1] == 1.0
    assert by_size[32] < by_size[8] < 1.0


@pytest.mark.parametrize(("quotient", "told"), [(["d", "r"], 0), (["r", "d"], 1)])
def test_what_optimising_makes_of_a_file_is_told(tmp_path, quotient, told):
    # ONNX Runtime takes either quotient for a layer normalisation, and one is none
    constants = {"two": 2, "small": 1e-5, "gain": [1, 2, 3, 4], "bias": [4, 3, 2, 1]}
    content = model(
        node("ReduceMean", ["x"], ["m"], axes=[-1]),
        node("Sub", ["x", "m"], ["d"]),
        node("Pow", ["d", "two"], ["p"]),
        node("ReduceMean", ["p"], ["v"], axes=[-1]),
        node("Add", ["v", "small"], ["w"]),
        node("Sqrt", ["w"], ["r"]),
        node("Div", quotient, ["n"]),
        node("Mul", ["n", "gain"], ["g"]),
        node("Add", ["g", "bias"], ["y"]),
        weights=[
            numpy_helper.from_array(np.float32(each), name) for name, each in constants.items()
        ],
        output=("n", 4),
    )
    said = []

    Registry(tmp_path, progress=said.append).register("layer", content, samples=Samples(ROWS))

    assert ["50 of 50 rows otherwise than operator by operator" in note for note in said] == [
        True
    ] * told
