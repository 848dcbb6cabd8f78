"""Forecasts of how many requests will come: by period, with quantiles.

A forecaster is a value with settings; what it has learned stays in it, and a deep copy has a life
of its own::

    ridge = Ridge().fit(counts, period=60.0)     # as often as counts come in
    ridge.forecast(5, [0.5, 0.9])                # five minutes ahead: median, and what 90 % hold
"""

from workbench.contents import resolve_late

__getattr__, __dir__, __all__ = resolve_late(
    __name__,
    {
        "bands": ["Conformal"],
        "base": ["Forecaster"],
        "exponential": ["Smoothing"],
        "mark_network": ["MArkNetwork"],
        "naive": ["Oracle", "Persistence", "SeasonalNaive"],
        "ridge": ["Ridge"],
        "stats_forecast": ["StatsForecast"],
        "trees": ["BoostedQuantiles"],
    },
)
