"""Forecasts of how many requests will come: by period, with quantiles."""

from workbench.forecasts.base import Forecaster

__all__ = ["Forecaster"]
