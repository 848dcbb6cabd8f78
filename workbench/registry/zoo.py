"""Ready-made models, trained here on the real data sets that come with scikit-learn.

They differ in accuracy, size and speed on purpose. `digits-mlp-wide` takes milliseconds for one
row and little more for several, so that batching decides; the others answer in microseconds.
"""

import hashlib
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import NotFound
from workbench.registry.answers import Answer
from workbench.registry.model import Model, Samples

if TYPE_CHECKING:
    from workbench.registry.api import Registry


_CALIBRATION_ROWS = 300  # of the training rows


@dataclass(frozen=True, eq=False)
class _Data:
    name: str
    train: NDArray[np.float32]
    train_targets: NDArray[Any]
    test: Samples
    sha256: str

    @property
    def labels(self) -> bool:
        """Whether the targets are labels."""
        return self.train_targets.dtype.kind in "iu"


@dataclass(frozen=True, eq=False)
class _ModelSource:
    """What can be registered: a fitted estimator or the bytes of an ONNX file, and its lineage."""

    source: Any
    data: _Data
    lineage: dict[str, Any]

    @property
    def answer(self) -> Answer | None:
        """What it answers with: classifiers say how sure they are."""
        return "probabilities" if self.data.labels else None


@dataclass(frozen=True, kw_only=True)
class _TrainedRecipe:
    """An estimator fitted to a data set."""

    data: str
    estimator: Callable[[int], Any]
    finish: Callable[[Any, _Data], dict[str, Any]] = lambda *_: {}

    def make(self, registry: "Registry", seed: int) -> _ModelSource:  # noqa: ARG002 - as its siblings
        data = _load(self.data, seed)
        fitted = _fit(self.estimator(seed), data)
        lineage = {"parameters": _parameters(fitted), "trained_on": data.sha256, "seed": seed}
        return _ModelSource(fitted, data, lineage | self.finish(fitted, data))


@dataclass(frozen=True, kw_only=True)
class _QuantisedRecipe:
    """Another ready-made model with int8 weights, and activations with scales fixed or not."""

    data: str
    base: str
    static: bool = False

    def make(self, registry: "Registry", seed: int) -> _ModelSource:
        base = registry[self.base] if self.base in registry else _add(registry, self.base, seed)
        data = _load(self.data, seed)
        lineage = base.lineage | {
            "quantised_from": base.name,
            "activations": "scales from training rows" if self.static else "scales by the batch",
        }
        calibration = data.train[:_CALIBRATION_ROWS] if self.static else None
        return _ModelSource(_quantise(base.path, calibration), data, lineage)


def build(
    registry: "Registry",
    *,
    names: Collection[str] | None = None,
    progress: Callable[[str], object] | None = None,
    seed: int = 0,
) -> None:
    """Put the ready-made models that a registry lacks into it, trained and approved.

    Those that were removed from it are made again only when asked for by name.

    Several processes may ask at once: one trains, the others wait for it. What a crash left out is
    made at the next call.

    Args:
        registry: Where they go, one group each.
        names: Some of `NAMES`; all of them by default.
        progress: Called once, with a line of text, before training starts.
        seed: Of the split into training and held-out rows, and of every estimator.

    Raises:
        NotFound: A name is not among `NAMES`.
        StorageError: The registry cannot be written.
    """
    wanted = NAMES if names is None else tuple(names)
    if unknown := set(wanted) - set(_RECIPES):
        known = ", ".join(_RECIPES)
        raise NotFound(f"No ready-made model {min(unknown)!r}. Known: {known}.")

    def list_missing() -> list[str]:
        # Whoever removed a ready-made model does not want it back unasked.
        known = registry.groups(removed=names is None)
        return [name for name in wanted if name not in known]

    if not list_missing():
        return
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    # One thread: every machine adds in the same order, and none spins against its neighbours.
    with registry.alone(), threadpool_limits(1):
        lacking = list_missing()
        if lacking and progress is not None:
            progress(f"Training {len(lacking)} ready-made models, once, into {registry.path} ...")
        for name in lacking:
            _add(registry, name, seed)


def _add(registry: "Registry", name: str, seed: int) -> Model:
    from sklearn import __version__

    made = _RECIPES[name].make(registry, seed)
    return registry.register(
        name,
        made.source,
        samples=made.data.test,
        answer=made.answer,
        task=made.data.name,
        data=made.data.name,
        framework=f"scikit-learn {__version__}",
        lineage={"data": f"scikit-learn {__version__}: {made.data.name}", **made.lineage},
        stage="Production",
        approval="Approved",
        who="workbench",
        why="ready-made model, measured on held-out rows",
    )


@cache
def _load(name: str, seed: int) -> _Data:
    """Return seven tenths of a data set to train on, the rest held out."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    loader = {
        "digits": datasets.load_digits,
        "breast-cancer": datasets.load_breast_cancer,
        "diabetes": datasets.load_diabetes,
    }[name]
    rows, targets = loader(return_X_y=True)
    train, test, train_targets, test_targets = train_test_split(
        rows.astype(np.float32),
        targets,
        test_size=0.3,
        random_state=seed,
        stratify=None if name == "diabetes" else targets,
    )
    sha256 = hashlib.sha256(train.tobytes() + train_targets.tobytes()).hexdigest()
    return _Data(name, train, train_targets, Samples(test, test_targets), sha256)


def _fit(estimator: Any, data: _Data) -> Any:  # noqa: ANN401
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # The networks stop after few epochs on purpose: more cost time and win no accuracy.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(data.train, data.train_targets)


def _fit_last_layer(pipeline: Any, data: _Data) -> dict[str, Any]:  # noqa: ANN401
    """Leave the hidden layers of a network random, and fit what follows them by least squares.

    As accurate here as training all of it, for a tenth of the time (Rahimi and Recht, "Weighted
    sums of random kitchen sinks", 2008).
    """
    from sklearn.linear_model import RidgeClassifier

    network = pipeline[-1]
    features = pipeline[:-1].transform(data.train)
    for weights, offsets in zip(network.coefs_[:-1], network.intercepts_[:-1], strict=True):
        features = np.maximum(features @ weights + offsets, 0)
    last = RidgeClassifier().fit(features, data.train_targets)
    network.coefs_[-1] = last.coef_.T.astype(np.float32)
    network.intercepts_[-1] = last.intercept_.astype(np.float32)
    return {"last_layer": f"{last}, the hidden layers are random"}


def _parameters(estimator: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the settings of an estimator, or of a pipeline's last step, that JSON can hold."""
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    plain = (bool, int, float, str, tuple)
    return {name: value for name, value in last.get_params().items() if isinstance(value, plain)}


class _Calibration:
    """Rows by which ONNX Runtime fixes the scales of activations."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self._rows = iter(rows)

    def get_next(self) -> dict[str, Any] | None:
        row = next(self._rows, None)
        return None if row is None else {"input": row[None]}


def _quantise(path: Path, calibration: NDArray[np.float32] | None) -> bytes:
    """Return the ONNX file with 8-bit weights.

    Activations get scales from the rows for calibration. Without any, they are quantised as they
    come, with one scale for a whole batch, so that a row's answer depends on those beside it.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as folder:
        prepared, result = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        if calibration is None:
            quantize_dynamic(prepared, result, weight_type=QuantType.QInt8)
        else:
            quantize_static(
                prepared,
                result,
                _Calibration(calibration),
                per_channel=True,
                weight_type=QuantType.QInt8,
                # Biases of shape (1, n), as skl2onnx writes them, are too much for the adjustment.
                extra_options={"QDQDisableWeightAdjustForInt32Bias": True},
            )
        return result.read_bytes()


def _logistic(seed: int) -> Any:  # noqa: ANN401
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, random_state=seed))


def _forest(seed: int) -> Any:  # noqa: ANN401
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(200, random_state=seed)


def _ridge(seed: int) -> Any:  # noqa: ANN401
    from sklearn.linear_model import Ridge

    return Ridge(alpha=0.1, random_state=seed)


def _gradient_boosting(seed: int) -> Any:  # noqa: ANN401
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(max_depth=2, learning_rate=0.05, random_state=seed)


def _mlp(*layers: int, epochs: int, solver: str = "adam") -> Callable[[int], Any]:
    def estimator(seed: int) -> Any:  # noqa: ANN401
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import MinMaxScaler

        network = MLPClassifier(layers, max_iter=epochs, solver=solver, random_state=seed)
        return make_pipeline(MinMaxScaler(), network)

    return estimator


_RECIPES: dict[str, _TrainedRecipe | _QuantisedRecipe] = {
    "digits-logistic": _TrainedRecipe(data="digits", estimator=_logistic),
    "digits-forest": _TrainedRecipe(data="digits", estimator=_forest),
    "digits-mlp-small": _TrainedRecipe(data="digits", estimator=_mlp(32, epochs=60)),
    "digits-mlp-large": _TrainedRecipe(data="digits", estimator=_mlp(1024, 1024, epochs=20)),
    "digits-mlp-int8": _QuantisedRecipe(data="digits", base="digits-mlp-large"),
    "digits-mlp-int8-static": _QuantisedRecipe(data="digits", base="digits-mlp-large", static=True),
    "digits-mlp-wide": _TrainedRecipe(
        data="digits",
        estimator=_mlp(5120, 5120, epochs=1, solver="sgd"),
        finish=_fit_last_layer,
    ),
    "breast-cancer-logistic": _TrainedRecipe(data="breast-cancer", estimator=_logistic),
    "breast-cancer-forest": _TrainedRecipe(data="breast-cancer", estimator=_forest),
    "diabetes-ridge": _TrainedRecipe(data="diabetes", estimator=_ridge),
    "diabetes-boosting": _TrainedRecipe(data="diabetes", estimator=_gradient_boosting),
}

#: The groups that `build` makes.
NAMES = tuple(_RECIPES)
