"""Models of the package statsforecast (Nixtla, Apache-2.0), the extra `forecast`."""

import copy
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.extras import require_extra
from workbench.forecasts.base import Floats
from workbench.forecasts.online import OnlineForecaster, Points, periods_in, spread_of
from workbench.validation import positive, whole_number

_LEAST = 10  # counts: some models fail with fewer ("tiny datasets")


@dataclass(frozen=True, kw_only=True)
class StatsForecast(OnlineForecaster):
    """A model of `statsforecast.models`, with the workbench's bands instead of its own.

    A model that can be carried on (`forward`: ARIMA, ETS, Theta and others) is fitted again at each
    `refit` and carried on between; another one is fitted at every period, which takes long.

    Attributes:
        model: Its name, such as AutoETS, or the model itself, with settings of its own.
        season: Seconds, a whole number of periods, for a model that is named. None: there is none.
        history: How many of the last periods it sees.
        refit: Periods from one refit to the next.

    Raises:
        InvalidInput: A setting is out of its limits; on forecast, that there is no such model.
        NotAvailable: The extra `forecast` is not installed.
    """

    kind = "statsforecast"
    _why = ", two seasons or ten"
    model: Any = field(kw_only=False)
    window: int = 240
    season: float | None = None
    history: int = 2880
    refit: int = 1440

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.model, str):
            require_extra("forecast", "A model by its name")
        elif not hasattr(self.model, "forecast"):
            raise InvalidInput(
                f"model must be the name of a model, or one of statsforecast, got {self.model!r}."
            )
        if self.season is not None:
            positive("season", self.season, "seconds")
        whole_number("history", self.history, low=_LEAST)
        whole_number("refit", self.refit, low=1)

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values; of a model of one's own its name."""
        return {**super().to_dict(), "model": str(self.model)}

    def _season(self, period: float) -> int:
        if self.season is not None:
            return periods_in(self.season, period)
        # a model with a season of its own answers NaN after less: see findings/
        return int(getattr(self.model, "season_length", 1))

    def _least(self, period: float) -> int:
        return max(_LEAST, 2 * self._season(period))

    def make_model(self, period: float, steps: int) -> "_ForeignModel":
        """Return a model that has learned nothing yet."""
        if not isinstance(self.model, str):
            return _ForeignModel(self, copy.deepcopy(self.model), steps)
        from statsforecast import models

        kind: Any = getattr(models, self.model, None)
        if kind is None:
            raise InvalidInput(
                f"statsforecast has no model {self.model!r}; AutoETS and AutoARIMA are two."
            )
        seasonal = "season_length" in signature(kind).parameters
        settings = {"season_length": self._season(period)} if seasonal else {}
        return _ForeignModel(self, kind(**settings), steps)


class _ForeignModel:
    def __init__(self, settings: StatsForecast, model: Any, steps: int) -> None:  # noqa: ANN401
        self.refit = settings.refit
        self._history, self._model, self._steps = settings.history, model, steps
        self._carried_on = hasattr(model, "forward")

    def learn(self, counts: Floats) -> None:
        if self._carried_on:
            self._model.fit(y=counts[-self._history :])

    def points(self, counts: Floats, origins: NDArray[np.int64]) -> Points:
        ahead = self._model.forward if self._carried_on else self._model.forecast
        seen = (counts[max(0, origin - self._history) : origin] for origin in origins)
        values = np.maximum(0.0, [ahead(y=part, h=self._steps)["mean"] for part in seen])
        return Points(values, spread_of(values))
