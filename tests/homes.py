"""Where the tests keep what the workbench keeps, and how long its ready-made models take there.

A model's service times are known, not measured, so that what is planned, simulated or chosen from
them is the same on each run, however busy the machine is. Tests of measuring itself have a home of
their own.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from workbench.measuring.kept_calls import keep_calls, thin_calls
from workbench.measuring.profile import AFTER_IDLE, BACK_TO_BACK, QUANTILE_LEVELS, Profile
from workbench.measuring.profile_cache import keep_profile, sizes_up_to
from workbench.provenance import recall_environment
from workbench.registry.model import Model

CALL_AND_ROW = {
    "breast-cancer-forest": (90e-6, 5e-6),
    "breast-cancer-logistic": (15e-6, 0.1e-6),
    "diabetes-boosting": (15e-6, 0.8e-6),
    "diabetes-ridge": (14e-6, 0.1e-6),
    "digits-forest": (70e-6, 30e-6),
    "digits-logistic": (15e-6, 0.6e-6),
    "digits-mlp-int8": (80e-6, 6e-6),
    "digits-mlp-int8-static": (90e-6, 6e-6),
    "digits-mlp-large": (110e-6, 11e-6),
    "digits-mlp-small": (18e-6, 0.4e-6),
    "digits-mlp-wide": (3.9e-3, 0.47e-3),
    "penguins-logistic": (40e-6, 0.4e-6),
}
"""Seconds that a call of a ready-made model takes, and each row of it: of a quiet machine."""

_LARGEST = 64  # rows, as many as plans ask for by themselves
_WAKING = 270e-6  # seconds more after idle
_CALLS, _SPREAD = 1000, 0.03


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """$WORKBENCH_HOME of a test that sets no other: never that of who runs the tests."""
    home = tmp_path_factory.mktemp("elsewhere")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WORKBENCH_HOME", str(home))
        yield home


def keep_known(model: Model) -> None:
    """Keep the known service times of a ready-made model, as if they had been measured."""
    rows = [
        _time_row(model.group, size, threads, state)
        for size in sizes_up_to(_LARGEST)
        for threads in (1, 2)
        for state in (BACK_TO_BACK, AFTER_IDLE)
    ]
    kinds = {"batch_size": pl.Int32, "threads": pl.Int32, "repeats": pl.Int32}
    calls = dict.fromkeys(("tail", "samples", "gaps"), pl.List(pl.Float32))
    facts = {
        "model": {"name": model.name, "sha256": model.sha256},
        "origin": "measured: this machine",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": recall_environment(),
        "load": 0.1,
    }
    keep_profile(model, Profile(thin_calls(pl.DataFrame(rows).cast(kinds | calls)), facts))


def _time_row(group: str, size: int, threads: int, state: str) -> dict[str, object]:
    call, row = CALL_AND_ROW[group]
    median = call + row * size + (_WAKING if state == AFTER_IDLE else 0.0)
    draw = np.random.default_rng((size, threads, state == AFTER_IDLE))
    noise = draw.lognormal(sigma=_SPREAD, size=_CALLS)
    seconds = median * noise / np.median(noise)
    return {
        "batch_size": size,
        "threads": threads,
        "state": state,
        "repeats": _CALLS,
        "median": median,
        "low": 0.998 * median,
        "high": 1.002 * median,
        "mean": seconds.mean(),
        "quantiles": np.quantile(seconds, QUANTILE_LEVELS).tolist(),
        **keep_calls(0.01 * np.arange(_CALLS), seconds),
    }
