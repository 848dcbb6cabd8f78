"""How far predictions and simulations lay from measured runs before: what each carries along."""

from dataclasses import dataclass

from workbench.formatting import percent_with_sign
from workbench.validation import choose, finite, keep, whole_number

_PLURALS = {"predicted": "predictions", "simulated": "simulations"}


@dataclass(frozen=True, kw_only=True)
class PastErrors:
    """Least and greatest error of p95 in the last `runs` measured runs that it was compared with.

    `way` is what erred: "predicted" or "simulated". An error is the p95 over the measured one, less
    1; both are 0 where `runs` is.

    >>> print(PastErrors(way="simulated", runs=12, low=-0.05, high=0.03))
    p95 of simulations was within -5 % to +3 % of the last 12 measured runs on this machine
    """

    way: str
    runs: int = 0
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        choose("way", self.way, _PLURALS)
        keep(self, runs=whole_number("runs", self.runs, low=0))
        keep(self, low=finite("low", self.low), high=finite("high", self.high))

    @property
    def span(self) -> str:
        """The errors in a few words, for a cell of a table."""
        if not self.runs:
            return "none known yet"
        return f"{self._errors} in {self.runs} run{'s' * (self.runs > 1)}"

    def __str__(self) -> str:
        what = f"p95 of {_PLURALS[self.way]}"
        if not self.runs:
            return f"{what} was never compared with a measured run on this machine"
        last = f"the last {self.runs} measured runs" if self.runs > 1 else "the one measured run"
        return f"{what} was within {self._errors} of {last} on this machine"

    @property
    def _errors(self) -> str:
        return " to ".join(dict.fromkeys(map(percent_with_sign, (self.low, self.high))))
