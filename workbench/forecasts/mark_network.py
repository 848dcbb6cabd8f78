"""The network that MArk scales by, as far as its design goes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.forecasts.base import Floats
from workbench.forecasts.online import OnlineForecaster, Points, spread_of
from workbench.validation import whole_number

_BATCH = 32  # changes in each step of Adam; MArk's has one, which takes far longer
_LEAST = 100  # counts: fewer say nothing to a network


@dataclass(frozen=True, kw_only=True)
class MArkNetwork(OnlineForecaster):
    """MArk's predictor as a small network: the last change in, the next changes out, 32 units.

    After `workload/prediction/train.py` of marcoszh/MArk-Project (C. Zhang and others, ATC 2019):
    counts are differenced, scaled to -1 to 1, and the changes of all periods ahead come from one
    lag through 32 units; adding them up gives the counts. Trained with Adam on squared errors for
    50 epochs. It is no LSTM and has no memory: MArk's 32 units are recurrent ones, which pass on a
    state from one period to the next, and these here are plain ones with tanh. It is fitted again
    at each `refit`, where MArk's is trained once; and the released MArk does not ask its network
    at all.

    Attributes:
        units: Of the one hidden layer.
        epochs: How often all changes are gone through.
        refit: Periods from one refit to the next.
        seed: Of the weights at the start, and of the order.
    """

    kind = "MArk's network"
    units: int = 32
    epochs: int = 50
    refit: int = 7 * 1440
    seed: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("units", "epochs", "refit"):
            whole_number(name, getattr(self, name), low=1)
        whole_number("seed", self.seed, low=0)

    def _least(self, period: float) -> int:  # noqa: ARG002 - of all forecasters
        return _LEAST

    def make_model(self, period: float, steps: int) -> "_NetworkModel":  # noqa: ARG002
        """Return a model that has learned nothing yet."""
        return _NetworkModel(self, steps)


class _NetworkModel:
    def __init__(self, settings: MArkNetwork, steps: int) -> None:
        self.refit = settings.refit
        self._settings, self._steps = settings, steps
        self._low, self._half = 0.0, 1.0
        self._network: Any = None

    def learn(self, counts: Floats) -> None:
        from sklearn.neural_network import MLPRegressor

        changes = np.diff(counts)
        self._low, self._half = changes.min(), np.ptp(changes) / 2
        if (rows := len(changes) - self._steps) < 1 or not self._half:
            return  # there is nothing to learn yet
        scaled = (changes - self._low) / self._half - 1
        ahead = scaled[np.arange(1, rows + 1)[:, None] + np.arange(self._steps)]
        settings, alone = self._settings, self._steps == 1
        self._network = MLPRegressor(
            hidden_layer_sizes=(settings.units,),
            activation="tanh",
            batch_size=min(_BATCH, rows),
            random_state=settings.seed,
        )
        for _ in range(settings.epochs):  # `fit` would warn that it has not converged
            self._network.partial_fit(scaled[:rows, None], ahead[:, 0] if alone else ahead)

    def points(self, counts: Floats, origins: NDArray[np.int64]) -> Points:
        last = counts[origins - 1, None]
        if self._network is None:
            values = np.repeat(last, self._steps, axis=1)
        else:
            change = (last - counts[origins - 2, None] - self._low) / self._half - 1
            ahead = self._network.predict(change).reshape(len(origins), self._steps)
            values = last + np.cumsum((ahead + 1) * self._half + self._low, axis=1)
        values = np.maximum(0.0, values)
        return Points(values, spread_of(values))
