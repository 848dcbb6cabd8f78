"""Pipelines over the columns of a frame, registered as they stand."""

import numpy as np
import onnx
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import (
    CountVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tests.graphs import text, two_inputs
from tests.refused import refused
from workbench.errors import InvalidInput, InvalidModel
from workbench.measuring.conversion import InputSpec
from workbench.registry.api import Registry, Samples
from workbench.registry.conversion import from_estimator
from workbench.registry.estimator_inputs import list_initial_types
from workbench.registry.onnx import Session
from workbench.registry.rows import as_rows

ROWS = 240
RNG = np.random.default_rng(0)
COLUMNS = {
    "age": RNG.uniform(0, 80, ROWS).round(1),
    "visits": RNG.integers(0, 9, ROWS),
    "city": RNG.choice(["Rome", "Oslo", "Bern"], ROWS),
    "member": RNG.random(ROWS) < 0.5,
    "note": RNG.choice(["a good day", "plan b now", "NAÏVE café", "no plan"], ROWS),
    "unused": RNG.choice(["x", "y"], ROWS),
}
CHURN = (COLUMNS["age"] > 40) ^ (COLUMNS["city"] == "Rome")


@pytest.fixture
def mine(tmp_path):
    return Registry(tmp_path / "registry", progress=str)


def frame(kind=pd.DataFrame, **changed):
    return kind({name: values.copy() for name, values in (COLUMNS | changed).items()})


def gaps(column, sign=None):
    values = COLUMNS[column].astype(object)
    values[::5] = sign
    return list(values)


def numbers(*columns):
    return ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), list(columns))


def categories(*columns, encoder=None):
    encoder = encoder or OneHotEncoder(handle_unknown="ignore")
    return ("categories", encoder, list(columns))


def fit(*parts, rows, estimator=None):
    columns = ColumnTransformer(list(parts))
    estimator = LogisticRegression() if estimator is None else estimator
    return make_pipeline(columns, estimator).fit(rows, CHURN)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize(
    "parts",
    [
        [numbers("age", "visits"), categories("city", "member")],
        [numbers("age"), categories("city", "visits", encoder=OrdinalEncoder())],
        [numbers("visits"), ("kept", "passthrough", ["member", "age"])],
        [numbers("age"), ("words", TfidfVectorizer(ngram_range=(1, 2)), "note")],
    ],
    ids=["one-hot", "ordinal", "kept", "words"],
)
def test_a_pipeline_is_registered_as_it_stands(mine, parts, kind):
    rows = frame(kind)
    pipeline = fit(*parts, rows=rows)

    model = mine.register("churn", pipeline, samples=Samples(rows, CHURN))

    names = [each.name for each in model.traits.input_schema.fields]
    assert names == [name for name in COLUMNS if any(name in part[2] for part in parts)]
    assert model.traits.agreement.share == 1
    assert model.traits.batches == "identical"
    assert model.traits.accuracy == pipeline.score(rows, CHURN)
    inputs = mine["churn:1"].samples().inputs
    assert np.array_equal(mine["churn:1"].session().run(inputs), pipeline.predict(rows))


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize(
    "encoder",
    [
        make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()),
        OneHotEncoder(),
        OneHotEncoder(handle_unknown="ignore"),
    ],
    ids=["filled", "category", "ignored"],
)
def test_missing_text_is_an_empty_one_in_the_file(mine, encoder, kind):
    rows = frame(kind, city=gaps("city"), age=gaps("age"))
    pipeline = fit(numbers("age"), categories("city", encoder=encoder), rows=rows)

    model = mine.register("churn", pipeline, samples=rows)

    assert model.traits.agreement.share == 1
    assert "" in model.samples().inputs["city"]
    assert np.isnan(model.samples().inputs["age"]).any()


def test_missing_text_that_is_only_a_rule_of_the_file_is_tried(mine):
    filled = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
    model = mine.register(
        "churn",
        fit(numbers("age"), categories("city", encoder=filled), rows=frame()),
        samples=frame(),
    )

    assert model.traits.agreement.missing_rows > 0
    assert model.traits.agreement.missing_share == 1


def test_an_empty_text_and_a_missing_one_cannot_both_be_categories(mine):
    cities = gaps("city", "")
    cities[1] = None
    rows = frame(city=cities)

    with refused(InvalidModel, "category", "empty text"):
        mine.register("churn", fit(categories("city"), rows=rows), samples=rows)


def test_whole_numbers_that_have_a_mean_become_floats(mine):
    kept = ("kept", "passthrough", ["visits"])
    model = mine.register("visits", fit(kept, categories("city"), rows=frame()), samples=frame())

    assert [each.dtype for each in model.traits.input_schema.fields] == ["int64", "str"]
    pipeline = fit(("numbers", SimpleImputer(), ["visits"]), rows=frame())
    assert str(mine.register("mean", pipeline, samples=frame()).traits.input_schema) == (
        "visits: float32 (batch, 1)"
    )


def test_float64_is_kept_where_float32_changes_answers(mine):
    seconds = 1.7e9 + np.arange(ROWS, dtype=float)
    rows = frame(age=seconds)
    scaled = ("numbers", StandardScaler(), ["age"])
    pipeline = make_pipeline(
        ColumnTransformer([scaled, categories("city")]), LinearRegression()
    ).fit(rows, np.arange(ROWS))

    model = mine.register("time", pipeline, samples=rows)

    assert [each.dtype for each in model.traits.input_schema.fields] == ["float64", "str"]
    assert model.traits.agreement.share == 1


def test_a_regressor_over_a_frame_has_its_r2(mine):
    rows = frame()
    pipeline = fit(
        numbers("age"), categories("city"), rows=rows, estimator=RandomForestRegressor(5)
    )
    model = mine.register("value", pipeline, samples=Samples(rows, CHURN.astype(float)))

    assert model.traits.accuracy == pytest.approx(pipeline.score(rows, CHURN))


@pytest.mark.parametrize(
    "vectorizer",
    [TfidfVectorizer(), CountVectorizer(token_pattern=r"(?u)\b\w+\b")],  # noqa: S106
)
def test_a_model_of_text_alone_takes_texts(mine, vectorizer):
    notes = list(COLUMNS["note"])
    pipeline = make_pipeline(vectorizer, LogisticRegression()).fit(notes, CHURN)

    model = mine.register("notes", pipeline, samples=Samples(notes, CHURN))

    assert str(model.traits.input_schema) == "input: str (batch)"
    assert model.traits.agreement.share == 1


@pytest.mark.parametrize("words", ["naïve café plan", "plan b plan"])
def test_words_are_those_of_scikit_learn(words):
    vectorizer = TfidfVectorizer(ngram_range=(1, 2)).fit([words, "plan other"])
    pipeline = make_pipeline(vectorizer, LinearRegression()).fit([words, "plan other"], [1.0, 2.0])
    types = list_initial_types(np.array([words]))

    values = Session(from_estimator(pipeline, types=types[0])).run(np.array([words.upper(), "b"]))

    assert np.allclose(values[:, 0], pipeline.predict([words.upper(), "b"]), atol=1e-5)


def test_a_frame_of_numbers_is_a_matrix_to_a_plain_estimator(mine):
    rows = frame()[["age", "visits"]]
    estimator = LogisticRegression().fit(rows, CHURN)

    model = mine.register("plain", estimator, samples=rows[["visits", "age"]])

    assert str(model.traits.input_schema) == "input: float32 (batch, 2)"
    assert model.samples().inputs[0].tolist() == rows.iloc[0].astype(np.float32).tolist()


@pytest.mark.parametrize(
    "targets",
    [np.where(np.arange(len(CHURN)) == 1, np.nan, 0), pd.Series(["a", None] * (len(CHURN) // 2))],
    ids=["numbers", "texts"],
)
def test_a_row_without_a_target_is_named_and_not_counted_as_wrong(mine, targets):
    rows = frame(pd.DataFrame)
    pipeline = fit(numbers("age"), rows=rows)
    with refused(InvalidInput, "Row 2", "target"):
        mine.register("churn", pipeline, samples=Samples(rows, targets))


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_columns_of_a_matrix_are_found_by_name_in_any_order(mine, kind):
    names = ["age", "visits"]
    fitted = LogisticRegression().fit(frame()[names], CHURN)
    taken = mine.register("plain", fitted, samples=frame()[names]).traits.input_schema
    moved = frame(kind)[["note", "visits", "age"]]

    assert taken == mine["plain:1"].traits.input_schema
    assert taken.columns == ("age", "visits")
    rows = mine["plain:1"].samples().inputs
    assert_array_equal(as_rows(taken, moved), rows)
    assert_array_equal(InputSpec(taken).of(frame(pl.DataFrame)[["visits", "age"]]), rows)
    assert_array_equal(as_rows(taken, {"a": COLUMNS["age"], "b": COLUMNS["visits"]}), rows)
    with refused(InvalidInput, "['visits']"):
        as_rows(taken, {"age": COLUMNS["age"], "b": COLUMNS["visits"]})


def test_a_file_with_samples_in_columns_knows_their_names(mine):
    content = from_estimator(LogisticRegression().fit(np.stack([COLUMNS["age"]] * 2, 1), CHURN))
    columns = {"x": COLUMNS["age"], "y": COLUMNS["age"] + 1}

    taken = mine.register("file", content, samples=columns).traits.input_schema

    assert as_rows(taken, {"y": [2.0], "x": [1.0]}).tolist() == [[1, 2]]


def test_columns_are_not_guessed(mine):
    pipeline = fit(numbers("age"), categories("city"), rows=frame())

    with refused(InvalidModel, "Pipeline", "age", "samples="):
        mine.register("churn", pipeline)
    with refused(InvalidInput, "city", "Pipeline"):
        mine.register("churn", pipeline, samples=frame().drop(columns="city"))
    assert len(mine) == 0


def test_a_pipeline_that_skl2onnx_takes_for_another_model_is_not_accepted(mine):
    # A number that is a category, with a fraction: skl2onnx has whole ones and texts alone.
    pipeline = fit(categories("age"), rows=frame())

    with pytest.raises(InvalidModel, match=r"Category .* is not an int64|not an int"):
        mine.register("churn", pipeline, samples=frame())


def test_random_rows_are_made_for_several_inputs_of_numbers_not_for_text(mine):
    model = mine.register("sum", two_inputs())

    assert model.samples().inputs.dtype.names == ("a", "b")
    assert model.traits.batches == "identical"
    with refused(InvalidInput, "x: str", "samples"):
        mine.register("text", text())
    with refused(InvalidInput, "b: float32 (batch, any)", "samples"):
        mine.register("sum", two_inputs(second=["n", "any"]))


def test_a_file_of_vectors_of_any_size_takes_samples_as_a_mapping(mine):
    columns = {"a": [1.0, 2.0], "b": [[1.0, 2.0], [3.0, 4.0]]}

    model = mine.register("sum", two_inputs(second=["n", "any"]), samples=columns)

    assert str(model.traits.input_schema) == "a: float32 (batch), b: float32 (batch, any)"
    assert model.session().run(model.samples().inputs).tolist() == [[2, 3], [5, 6]]
    assert model.traits.batches == "identical"


def test_columns_that_are_dropped_are_no_inputs():
    rows = Samples(frame()).inputs
    pipeline = fit(numbers("age"), categories("city"), rows=frame())
    proto = onnx.load_model_from_string(
        from_estimator(pipeline, rows, types=list_initial_types(rows)[0])
    )

    assert [each.name for each in proto.graph.input] == ["age", "city"]


@pytest.mark.parametrize("answer", [None, "probabilities"])
def test_trees_behind_a_scaler_and_an_imputer_answer_as_scikit_learn(mine, answer):
    rows = frame(age=RNG.lognormal(10, 1, ROWS).round(2))
    forest = RandomForestClassifier(5, random_state=0)
    pipeline = fit(numbers("age", "visits"), categories("city"), rows=rows, estimator=forest)

    agreement = mine.register("churn", pipeline, samples=rows, answer=answer).traits.agreement

    assert agreement.share == 1
    assert dict(agreement.differences)["probabilities"] < 1e-5


@pytest.mark.parametrize("weights", [TfidfVectorizer, TfidfTransformer])
def test_weights_of_words_that_grow_sublinearly_are_those_of_scikit_learn(mine, weights):
    notes = [f"{note} plan plan plan" for note in COLUMNS["note"]]
    words = [CountVectorizer()] * (weights is TfidfTransformer)
    pipeline = make_pipeline(*words, weights(sublinear_tf=True), LogisticRegression())

    model = mine.register("notes", pipeline.fit(notes, CHURN), samples=notes)

    assert dict(model.traits.agreement.differences)["probabilities"] < 1e-5
    assert pipeline[-2].sublinear_tf


def test_words_that_are_left_out_before_pairs_are_made_are_refused(mine):
    words = TfidfVectorizer(ngram_range=(1, 2), stop_words="english")
    pipeline = make_pipeline(words, LogisticRegression()).fit(COLUMNS["note"], CHURN)

    with refused(InvalidModel, "stop_words=None", "ngram_range=(1, 1)"):
        mine.register("notes", pipeline, samples=COLUMNS["note"])


def test_what_was_wrong_with_the_file_that_came_furthest_is_said(mine, monkeypatch):
    rows = frame()
    pipeline = fit(numbers("age", "visits"), categories("city"), rows=rows)
    pipeline[-1].intercept_ = pipeline[-1].intercept_ + 9.0
    changed = from_estimator
    other = fit(numbers("age", "visits"), categories("city"), rows=rows)
    other[-1].intercept_ = other[-1].intercept_ - 9.0
    monkeypatch.setattr(
        "workbench.registry.model_import.from_estimator",
        lambda _, inputs, types: changed(other, inputs, types=types),
    )

    with refused(InvalidModel, "Pipeline", "another model"):
        mine.register("churn", pipeline, samples=rows)


def test_a_column_that_the_pipeline_drops_may_be_left_out(mine):
    rows = frame(unused=pd.date_range("2026-01-01", periods=ROWS))
    pipeline = fit(numbers("age"), categories("city"), rows=rows)

    with refused(InvalidInput, "unused", "Timestamp", "row 1"):
        mine.register("churn", pipeline, samples=rows)
    model = mine.register("churn", pipeline, samples=rows.drop(columns=["unused", "note"]))

    assert [each.name for each in model.traits.input_schema.fields] == ["age", "city"]
    assert model.traits.agreement.share == 1
