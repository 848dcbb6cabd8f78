import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.measuring import outcomes as module
from workbench.measuring.outcomes import Accuracy, Outcomes, find_outcomes
from workbench.registry.api import Registry, Samples
from workbench.traffic.trace import Trace

HALF = np.array([[1.0], [-1.0], [2.0], [-2.0], [3.0]], np.float32)


def outcomes_of(*right, context=None, confidence=0.5):
    """Outcomes of rows whose labels are their numbers."""
    rows = np.arange(len(right))
    context = None if context is None else np.array(context)
    return Outcomes(rows, np.full(len(right), confidence), np.array(right, float), context)


def test_the_outcomes_are_what_the_model_answers_row_by_row(at_home, model):
    found = find_outcomes(model)

    pool = model.samples()
    alone = [model.session().run(pool.inputs[row : row + 1]) for row in range(len(pool))]
    assert (found.label == model.labels(np.concatenate(alone))).all()
    assert (found.correct == (found.label == pool.targets)).all()
    assert found.accuracy.share == pytest.approx(model.traits.accuracy)


def test_outcomes_are_computed_once_and_again_where_their_file_is_damaged(
    tmp_path, monkeypatch, model
):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    first = find_outcomes(model)
    (path,) = (tmp_path / "outcomes").iterdir()
    assert path.name == f"{model.sha256}-{model.samples_sha256}.npz"
    module._read_outcomes.cache_clear()
    with monkeypatch.context() as patch:
        patch.delattr(module, "_answer")
        assert (find_outcomes(model).label == first.label).all()
    content = path.read_bytes()
    for damaged in (content[:-100], content[:300] + b"12345678" + content[308:], b""):
        path.write_bytes(damaged)
        module._read_outcomes.cache_clear()

        assert (find_outcomes(model).label == first.label).all()
        assert path.read_bytes() == content


def test_who_waits_for_answers_is_told_how_many_rows_there_are(tmp_path, monkeypatch, registry):
    """Of rows that are asked alone as of rows together; of answers that are kept, nothing."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    for name in ("digits-mlp-int8", "digits-forest"):
        told = []
        model = registry[name]
        for _ in range(2):
            find_outcomes(model, progress=lambda *each: told.append(each))  # noqa: B023
        assert told[-1] == (len(model.samples()),) * 2
        assert told == sorted(set(told))


def test_rows_are_asked_alone_where_company_changes_answers(at_home, registry):
    model = registry["digits-mlp-int8"]
    pool = model.samples()

    found = find_outcomes(model)

    session = model.session()
    alone = np.concatenate([session.run(pool.inputs[at : at + 1]) for at in range(len(pool))])
    assert (found.label == model.labels(alone)).all()
    assert found.accuracy.share == model.traits.accuracy


def test_texts_are_kept_and_read_back(tmp_path, monkeypatch):
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    names = np.array(["cat", "dog", "cat", "dog", "cat"])
    fitted = LogisticRegression().fit(HALF, names)
    samples = Samples(HALF, names, ["near", "near", "far", "far", "far"])
    model = Registry(tmp_path / "registry").register("pets", fitted, samples=samples)

    first = find_outcomes(model)
    module._read_outcomes.cache_clear()
    again = find_outcomes(model)

    assert first.label.tolist() == again.label.tolist() == names.tolist()
    assert list(again.accuracy_by_context) == ["far", "near"]


def test_a_request_of_several_rows_is_as_sure_as_its_least_certain_one():
    outcomes = Outcomes(np.array([3, 7, 1]), np.array([0.9, 0.6, 0.8]), np.array([1.0, 0.0, 1.0]))

    found = outcomes.of_requests(Trace([0, 1, 2], 3, rows=[1, 2, 4], sample=[3, 1, 2]))

    assert found.label.tolist() == [(3,), (7, 1), (1, 3, 7, 1)]
    assert found.confidence.tolist() == [0.9, 0.6, 0.6]
    assert found.correct.tolist() == [1.0, 0.5, 0.75]


def test_single_rows_keep_their_labels_as_they_are():
    found = outcomes_of(1, 0, 1).of_requests(Trace([0, 1], 2, sample=[4, 2]))

    assert (found.label.tolist(), found.correct.tolist()) == ([1, 2], [0.0, 1.0])


@given(st.integers(0, 50), st.integers(1, 50))
def test_the_interval_is_wilson_s(right, more):
    found = Accuracy.of(right, right + more)

    expected = stats.binomtest(right, right + more).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_accuracy_is_weighted_by_the_mix_of_the_traffic():
    kinds = ["clean"] * 4 + ["noisy"] * 4
    outcomes = outcomes_of(1, 1, 1, 1, 1, 0, 0, 0, context=kinds)

    assert outcomes.accuracy.share == 0.625
    assert {k: a.share for k, a in outcomes.accuracy_by_context.items()} == {
        "clean": 1.0,
        "noisy": 0.25,
    }
    assert outcomes.accuracy_for({"clean": 0.2, "noisy": 0.8}).share == pytest.approx(0.4)
    told = Trace([0.0, 1.0], 2.0, context=["noisy", "noisy"])
    assert outcomes.accuracy_for(told) == outcomes.accuracy_by_context["noisy"]
    drawn = Trace([0.0, 1.0], 2.0, sample=[0, 6])  # without context: that of its rows
    assert outcomes.mix_of(drawn) == {"clean": 0.5, "noisy": 0.5}
    assert outcomes_of(1, 0).accuracy_for(drawn).share == 0.5


def test_the_interval_of_a_mix_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    counts, truth, mix = (200, 60), (0.95, 0.6), {"a": 0.3, "b": 0.7}
    context = np.repeat(["a", "b"], counts)
    held = 0
    for _ in range(400):
        right = np.concatenate([rng.random(n) < p for n, p in zip(counts, truth, strict=True)])
        found = outcomes_of(*right, context=context).accuracy_for(mix)
        held += found.low <= 0.3 * 0.95 + 0.7 * 0.6 <= found.high

    assert stats.binomtest(held, 400, 0.95).pvalue > 0.001


def test_what_is_not_known_is_not_made_up():
    unknown = outcomes_of(np.nan, np.nan, context=["a", "b"])
    with refused(InvalidInput, "classifier", "targets"):
        unknown.accuracy_for({"a": 1.0})
    with refused(InvalidInput, "c", "a, b"):
        outcomes_of(1, 0, context=["a", "b"]).accuracy_for({"a": 0.5, "c": 0.5})
    assert np.isnan(unknown.of_requests(Trace([0.0], 1.0)).correct).all()
