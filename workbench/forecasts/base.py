"""What a forecaster is: it learns counts by period, and says what may come after them."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput

Floats = NDArray[np.float64]


class Forecaster(Protocol):
    """Anything with these two methods: one of the workbench, or one's own.

    It is asked again and again while counts come in, each time with all that there were; what it
    learned before it may keep. Whoever uses it for several runs copies it first.
    """

    def fit(self, counts: ArrayLike, period: float) -> object:
        """Learn the requests of each period, from the first to the last that has closed.

        Args:
            counts: Whole numbers, oldest first.
            period: Seconds.

        Raises:
            TooFewSamples: They are too few to learn from.
        """

    def forecast(self, steps: int, quantiles: Sequence[float]) -> Floats:
        """Return quantiles of the requests in each of the next periods.

        They are 0 or more and do not fall from one quantile to a higher one. Shape: steps by
        quantiles.
        """


def ask_forecaster(
    forecaster: Forecaster, steps: int, quantiles: Sequence[float], name: str = ""
) -> Floats:
    """Return what a forecaster says, known to be finite numbers, steps by quantiles.

    `name` is what it is called in the `InvalidInput` that is raised else, by default its class.
    """
    shown = np.asarray(forecaster.forecast(steps, quantiles), np.float64)
    wanted = steps, len(quantiles)
    if shown.shape != wanted or not np.isfinite(shown).all():
        raise InvalidInput(
            f"forecast of {name or type(forecaster).__name__} must return finite numbers, steps by "
            f"quantiles, shape {wanted}, got {shown!r}."
        )
    return shown
