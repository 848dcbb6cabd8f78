"""Forecasts of how many requests will come: by period, with quantiles.

A forecaster is a value with settings; what it has learned stays in it, and a deep copy has a life
of its own::

    ridge = Ridge().fit(counts, period=60.0)     # as often as counts come in
    ridge.forecast(5, [0.5, 0.9])                # five minutes ahead: median, and what 90 % hold
"""

from workbench.forecasts.bands import Conformal
from workbench.forecasts.base import Forecaster
from workbench.forecasts.exponential import Smoothing
from workbench.forecasts.mark_network import MArkNetwork
from workbench.forecasts.naive import Oracle, Persistence, SeasonalNaive
from workbench.forecasts.ridge import Ridge
from workbench.forecasts.stats_forecast import StatsForecast
from workbench.forecasts.trees import BoostedQuantiles

__all__ = [
    "BoostedQuantiles",
    "Conformal",
    "Forecaster",
    "MArkNetwork",
    "Oracle",
    "Persistence",
    "Ridge",
    "SeasonalNaive",
    "Smoothing",
    "StatsForecast",
]
