"""Ready-made models, trained here on the real data sets that come with scikit-learn and with us.

They differ in accuracy, size and speed on purpose. `digits-mlp-wide` takes milliseconds for one
row and little more for several, so that batching decides; the others answer in microseconds.
"""

import hashlib
import warnings
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import NotFound
from workbench.files import find_data
from workbench.progress import Progress
from workbench.registry import framed_digits
from workbench.registry.estimator_inputs import Estimator
from workbench.registry.model import Model, Samples
from workbench.registry.quantisation import quantise
from workbench.registry.rows import as_frame, as_rows
from workbench.validation import suggest

if TYPE_CHECKING:
    from workbench.registry.api import Registry


_FEW_ROWS = 20  # to draw a network's weights with
_CALIBRATION_ROWS = 300  # of the training rows
_FRAMED_TARGETS = {framed_digits.TASK: "digits", f"{framed_digits.TASK}-kind": "kinds"}
"""What is asked in each task on framed digits: which digit it is, or of which kind the row."""

_ORIGINS = {"penguins": "Palmer Station LTER (Gorman and others, 2014)"}
"""Where data come from that are not scikit-learn's."""


@dataclass(frozen=True, eq=False)
class _Data:
    name: str
    train: NDArray[Any]
    train_targets: NDArray[Any]
    test: Samples
    sha256: str


def _fit(estimator: Estimator, data: _Data) -> Estimator:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # The networks stop after few epochs on purpose: more cost time and win no accuracy.
        warnings.simplefilter("ignore", ConvergenceWarning)
        rows = as_frame(data.train) if data.train.dtype.names else data.train
        return estimator.fit(rows, data.train_targets)


_Made = tuple[Any, dict[str, Any]]  # an estimator or the bytes of an ONNX file, and its lineage


@dataclass(frozen=True)
class _Recipe:
    """How a model is made of a data set; `base` is another one that has to be there before."""

    data: str
    make: Callable[[_Data, int, Model | None], _Made]
    base: str = ""


def _train(
    data: str,
    estimator: Callable[[int], Estimator],
    fit: Callable[[Any, _Data], Any] = _fit,
    **more: str,
) -> _Recipe:
    """Return the recipe of an estimator fitted to a data set."""

    def make(given: _Data, seed: int, _base: Model | None) -> _Made:
        fitted = fit(estimator(seed), given)
        return fitted, {**_describe(given, seed, _parameters(fitted)), **more}

    return _Recipe(data, make)


def _find_patches(count: int, *, keep: int | None = None, width: int = 0) -> _Recipe:
    """Return the recipe of a network that looks for patches of the images."""

    def make(given: _Data, seed: int, _base: Model | None) -> _Made:
        train, _ = framed_digits.load(seed)
        content = framed_digits.fit_patches(train, count, seed, keep=keep, width=width)
        return content, _describe(given, seed, {"patches": count, "keep": keep, "width": width})

    return _Recipe(framed_digits.TASK, make)


def _prune(name: str, share: float) -> _Recipe:
    """Return the recipe of another ready-made network without some of its hidden units."""

    def make(given: _Data, seed: int, base: Model | None) -> _Made:
        assert base is not None  # noqa: S101 - the recipe names it
        train, _ = framed_digits.load(seed)
        pruned = framed_digits.prune_network(base.path.read_bytes(), train, share, seed)
        more = {"pruned_from": base.name, "share_of_units": share}
        return _fit(pruned, given), base.lineage | more

    return _Recipe(framed_digits.TASK, make, name)


def _quantise(data: str, name: str, *, static: bool = False) -> _Recipe:
    """Return the recipe of another ready-made model with weights of 8 bits."""

    def make(given: _Data, _seed: int, base: Model | None) -> _Made:
        assert base is not None  # noqa: S101 - the recipe names it
        scales = "scales from training rows" if static else "scales by the batch"
        more = {"quantised_from": base.name, "activations": scales}
        calibration = given.train[:_CALIBRATION_ROWS] if static else None
        return quantise(base.path, calibration), base.lineage | more

    return _Recipe(data, make, name)


def _describe(data: _Data, seed: int, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"parameters": parameters, "trained_on": data.sha256, "seed": seed}


def build(
    registry: "Registry",
    *,
    names: Collection[str] | None = None,
    task: str | None = None,
    progress: Callable[[str], object] | None = None,
    show: Callable[[str], AbstractContextManager[Progress]] | None = None,
    seed: int = 0,
) -> None:
    """Put the ready-made models that a registry lacks into it, trained and approved.

    Those that were removed from it are made again only when asked for by name.

    Several processes may ask at once: one trains, the others wait for it. What a crash left out is
    made at the next call.

    Args:
        registry: Where they go, one group each.
        names: Some of `NAMES` and `ON_DEMAND`; by default all of `NAMES`.
        task: Instead of names: all models of a task, such as "framed-digits".
        progress: Called once, with a line of text, before training starts.
        show: Shows how far the training is, if there is any: `workbench.progress.show_progress`.
        seed: Of the split into training and held-out rows, and of every estimator.

    Raises:
        NotFound: There is no such name or task.
        StorageError: The registry cannot be written.
    """
    wanted = _of_task(task) if task is not None else NAMES if names is None else tuple(names)
    if unknown := set(wanted) - set(_RECIPES):
        known = ", ".join(_RECIPES)
        near = suggest(min(unknown), _RECIPES)
        raise NotFound(f"No ready-made model {min(unknown)!r}. Known: {known}.{near}")

    def list_missing() -> list[str]:
        # Whoever removed a ready-made model does not want it back unasked.
        known = registry.groups(removed=names is None)
        return [name for name in wanted if name not in known]

    if not list_missing():
        return
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    # One thread: every machine adds in the same order, and none spins against its neighbours.
    with registry.alone(), threadpool_limits(1):
        if not (lacking := list_missing()):
            return
        if progress is not None:
            progress(f"Training {len(lacking)} ready-made models, once, into {registry.path} ...")
        silent = nullcontext(lambda _done, _total: None)
        with show("Training ready-made models, once") if show else silent as report:
            for done, name in enumerate(lacking):
                report(done, len(lacking))
                _add(registry, name, seed)
            report(len(lacking), len(lacking))


def _of_task(task: str) -> tuple[str, ...]:
    found = tuple(name for name, recipe in _RECIPES.items() if recipe.data == task)
    if not found:
        tasks = dict.fromkeys(recipe.data for recipe in _RECIPES.values())
        raise NotFound(
            f"No ready-made models for the task {task!r}. Known: {', '.join(tasks)}."
            f"{suggest(task, tasks)}"
        )
    return found


def _add(registry: "Registry", name: str, seed: int) -> Model:
    from sklearn import __version__

    recipe, base = _RECIPES[name], None
    if recipe.base:
        there = recipe.base in registry
        base = registry[recipe.base] if there else _add(registry, recipe.base, seed)
    data = _load(recipe.data, seed)
    source, lineage = recipe.make(data, seed, base)
    origin = _ORIGINS.get(data.name, f"scikit-learn {__version__}")
    return registry.register(
        name,
        source,
        samples=data.test,
        # classifiers say how sure they are
        answer="probabilities" if data.train_targets.dtype.kind != "f" else None,
        task=data.name,
        data=data.name,
        framework=f"scikit-learn {__version__}",
        lineage={"data": f"{origin}: {data.name}", **lineage},
        stage="Production",
        approval="Approved",
        who="workbench",
        why="ready-made model, measured on held-out rows",
    )


@cache
def _load(name: str, seed: int) -> _Data:
    """Return seven tenths of a data set to train on, the rest held out."""
    if name in _FRAMED_TARGETS:
        return _load_framed(name, seed)
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    loader = {
        "digits": datasets.load_digits,
        "breast-cancer": datasets.load_breast_cancer,
        "diabetes": datasets.load_diabetes,
        "penguins": _read_penguins,
    }[name]
    rows, targets = loader(return_X_y=True)
    train, test, train_targets, test_targets = train_test_split(
        rows if rows.dtype.names else rows.astype(np.float32),
        targets,
        test_size=0.3,
        random_state=seed,
        stratify=None if name == "diabetes" else targets,
    )
    sha256 = hashlib.sha256(train.tobytes() + train_targets.tobytes()).hexdigest()
    return _Data(name, train, train_targets, Samples(test, test_targets), sha256)


def _read_penguins(*, return_X_y: bool) -> tuple[NDArray[Any], NDArray[Any]]:  # noqa: ARG001, N803 - as scikit-learn's
    """Return columns of numbers and of text, some of them missing, and the species of each row."""
    import polars as pl

    path = find_data() / "penguins.csv"
    frame = pl.read_csv(path.read_bytes(), null_values="NA").drop("year")
    rows = as_rows(None, frame.drop("species").cast({pl.Int64: pl.Float64}))
    return rows, frame["species"].to_numpy().astype(str)


def _load_framed(name: str, seed: int) -> _Data:
    train, test = framed_digits.load(seed)
    known, right = (getattr(each, _FRAMED_TARGETS[name]) for each in (train, test))
    sha256 = hashlib.sha256(train.rows.tobytes() + known.tobytes()).hexdigest()
    return _Data(name, train.rows, known, Samples(test.rows, right, test.kinds), sha256)


def _fit_last_layer(pipeline: Estimator, data: _Data) -> Estimator:
    """Leave the hidden layers of a network random, and fit what follows them by least squares."""
    # As accurate here as training all of it, for a tenth of the time (Rahimi and Recht, "Weighted
    # sums of random kitchen sinks", 2008).
    from sklearn.linear_model import RidgeClassifier

    network, features = pipeline[-1], pipeline[:-1].fit_transform(data.train)
    few = slice(_FEW_ROWS)  # one step with a few rows draws the weights, and hardly moves them
    network.partial_fit(
        features[few], data.train_targets[few], classes=np.unique(data.train_targets)
    )
    for weights, offsets in zip(network.coefs_[:-1], network.intercepts_[:-1], strict=True):
        features = np.maximum(features @ weights + offsets, 0)
    last = RidgeClassifier().fit(features, data.train_targets)
    network.coefs_[-1] = last.coef_.T.astype(np.float32)
    network.intercepts_[-1] = last.intercept_.astype(np.float32)
    return pipeline


def _parameters(estimator: Estimator) -> dict[str, Any]:
    """Return the settings of an estimator, or of a pipeline's last step, that JSON can hold."""
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    plain = (bool, int, float, str, tuple)
    return {name: value for name, value in last.get_params().items() if isinstance(value, plain)}


def _logistic(seed: int) -> Estimator:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, random_state=seed))


def _logistic_of_columns(seed: int) -> Estimator:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    measures = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    fill = SimpleImputer(strategy="median")
    kinds = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("measures", fill, measures), ("kinds", kinds, ["island", "sex"])])
    return make_pipeline(columns, _logistic(seed))


def _forest(trees: int = 200, depth: int | None = None) -> Callable[[int], Estimator]:
    def estimator(seed: int) -> Estimator:
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(trees, max_depth=depth, random_state=seed)

    return estimator


def _ridge(seed: int) -> Estimator:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=0.1, random_state=seed)


def _gradient_boosting(seed: int) -> Estimator:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(max_depth=2, learning_rate=0.05, random_state=seed)


def _mlp(
    *layers: int, epochs: int, solver: str = "adam", scale: bool = True
) -> Callable[[int], Estimator]:
    def estimator(seed: int) -> Estimator:
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import MinMaxScaler

        network = MLPClassifier(layers, max_iter=epochs, solver=solver, random_state=seed)
        return make_pipeline(MinMaxScaler(), network) if scale else network

    return estimator


# sizes far apart in time and accuracy, so that there is something to choose among
_RECIPES = {
    "digits-logistic": _train("digits", _logistic),
    "digits-forest": _train("digits", _forest()),
    "digits-mlp-small": _train("digits", _mlp(32, epochs=60)),
    "digits-mlp-large": _train("digits", _mlp(1024, 1024, epochs=20)),
    "digits-mlp-int8": _quantise("digits", "digits-mlp-large"),
    "digits-mlp-int8-static": _quantise("digits", "digits-mlp-large", static=True),
    "digits-mlp-wide": _train(
        "digits",
        _mlp(5120, 5120, epochs=1, solver="sgd"),
        _fit_last_layer,
        last_layer="RidgeClassifier(), the hidden layers are random",
    ),
    "breast-cancer-logistic": _train("breast-cancer", _logistic),
    "breast-cancer-forest": _train("breast-cancer", _forest()),
    "diabetes-ridge": _train("diabetes", _ridge),
    "diabetes-boosting": _train("diabetes", _gradient_boosting),
    "penguins-logistic": _train("penguins", _logistic_of_columns),
}

#: The groups that `build` makes by default, and what they are for.
NAMES = tuple(_RECIPES)
TASKS = frozenset(recipe.data for recipe in _RECIPES.values())

_FRAMED = framed_digits.TASK
_RECIPES |= {
    f"{_FRAMED}-logistic": _train(_FRAMED, _logistic),
    f"{_FRAMED}-forest": _train(_FRAMED, _forest(60, depth=13)),
    f"{_FRAMED}-mlp-small": _train(_FRAMED, _mlp(16, epochs=25, scale=False)),
    f"{_FRAMED}-mlp-medium": _train(_FRAMED, _mlp(128, epochs=15, scale=False)),
    f"{_FRAMED}-mlp-large": _train(_FRAMED, _mlp(512, 256, epochs=12, scale=False)),
    f"{_FRAMED}-mlp-large-int8": _quantise(_FRAMED, f"{_FRAMED}-mlp-large", static=True),
    f"{_FRAMED}-mlp-large-pruned": _prune(f"{_FRAMED}-mlp-large", share=0.5),
    f"{_FRAMED}-patches-small": _find_patches(32),
    f"{_FRAMED}-patches-medium": _find_patches(128),
    f"{_FRAMED}-patches-medium-int8": _quantise(_FRAMED, f"{_FRAMED}-patches-medium", static=True),
    f"{_FRAMED}-patches-medium-pruned": _find_patches(128, keep=64),
    f"{_FRAMED}-patches-large": _find_patches(512),
    f"{_FRAMED}-patches-wide": _find_patches(1024, width=4096),
    f"{_FRAMED}-gate": _train(f"{_FRAMED}-kind", _forest(10, depth=6)),
}

#: The groups that it makes only where they are asked for, by name or by task.
ON_DEMAND = tuple(name for name in _RECIPES if name not in NAMES)
