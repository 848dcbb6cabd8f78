"""What is asked: the traffic, the target, what must be, and what is weighed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from workbench.deployment.base import KINDS, Deployment
from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.planner.candidates import HYBRID, SCALED
from workbench.planner.options import Options
from workbench.quantiles import SLO, longest_within
from workbench.selection.needs import Bounds, Miss, describe_need
from workbench.selection.weights import QUALITIES, Weights
from workbench.traffic.trace import Trace
from workbench.validation import as_tuple, inner_share, of_kind, positive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """What is asked of the candidates.

    Attributes:
        trace: The traffic.
        slo: The latency target, which a candidate must meet.
        options: What a plan may choose from.
        needs: What else it must be, by trait or figure.
        weights: What is weighed.
        target: Instead of weights: the accuracy that the cheapest must have; None: weights decide.
        confidence: With which probability it must.
        budget: US dollars per million requests that it may cost; None: any.
    """

    trace: Trace
    slo: SLO
    options: Options
    needs: Mapping[str, Any]
    weights: Weights
    target: float | None = None
    confidence: float = 0.95
    budget: float | None = None

    @classmethod
    def read(
        cls,
        *,
        trace: Trace,
        slo: SLO,
        deployments: Sequence[Deployment | str] | None,
        options: Options | None,
        weights: Mapping[str, float] | None,
        target: float | None,
        confidence: float,
        budget: float | None,
    ) -> Self:
        """Return the question of checked arguments, but for the needs: they hang on candidates."""
        of_kind("trace", trace, Trace)
        of_kind("slo", slo, SLO, "an SLO")
        if target is not None and weights is not None:
            raise InvalidInput(
                "Give weights or a target, not both: of what reaches a target, the cheapest is "
                "taken."
            )
        return cls(
            trace=trace,
            slo=slo,
            options=_read_options(deployments, options),
            needs={},
            weights=Weights.read(weights),
            target=None if target is None else inner_share("target", target),
            confidence=inner_share("confidence", confidence),
            budget=None if budget is None else positive("budget", budget, "US dollars per million"),
        )

    @property
    def quality(self) -> str:
        """Which accuracy is weighed: "accuracy" or "effective_accuracy"."""
        return self.weights.quality

    @property
    def asks_accuracy(self) -> bool:
        """Whether an accuracy decides anything."""
        weighed = self.target is None and self.weights.shares[0] > 0
        return weighed or self.target is not None or bool(set(QUALITIES) & set(self.needs))

    @property
    def least(self) -> float:
        """The least accuracy that is needed, 0 without such a need: where its scale begins."""
        bounds = self.needs.get(self.quality)
        return bounds.low if isinstance(bounds, Bounds) and bounds.low is not None else 0.0

    @property
    def label(self) -> str:
        """The question in a few words."""
        parts = [self.slo.label, *(describe_need(*each) for each in self.needs.items())]
        if self.budget is not None:
            parts.append(f"at most ${self.budget:.4g} per million")
        if self.target is not None:
            words = f"the cheapest with an accuracy of {self.target:g} or more"
            return f"{words} at {100 * self.confidence:g} % confidence, {', '.join(parts)}"
        return f"weights {self.describe_weights()}; {', '.join(parts)}"

    def describe_weights(self) -> str:
        """Return the weights in words."""
        names = (self.quality.replace("_", " "), "latency", "cost")
        pairs = zip(names, self.weights.shares, strict=True)
        return ", ".join(f"{name} {share:.3g}" for name, share in pairs if share)

    def find_target_miss(self, latency: float, *, bound: bool) -> Miss | None:
        """Return how a latency, or one that it is at least, misses the target."""
        if latency <= longest_within(self.slo.latency):
            return None
        quantile, least = self.slo.percentile, "at least " if bound else ""
        shown = duration(latency)
        return Miss(
            "latency",
            f"{quantile} is {least}{shown}, above the target of {duration(self.slo.latency)}",
            f"it takes a target of {shown}{' or more' if bound else ''}",
            latency / self.slo.latency - 1,
        )

    def find_budget_miss(self, cost: float, *, bound: bool) -> Miss | None:
        """Return how a cost, or one that it is at least, exceeds the budget."""
        if self.budget is None or cost <= self.budget:
            return None
        least = "at least " if bound else ""
        return Miss(
            "cost_per_million",
            f"costs {least}${cost:.4g} per million, above the budget of ${self.budget:.4g}",
            f"it takes a budget of ${cost:.4g}{' or more' if bound else ''}",
            cost / self.budget - 1,
        )

    def with_rate(self, factor: float) -> Question:
        """Return the same question with the traffic so many times as fast."""
        return replace(self, trace=self.trace.scale(factor))

    def with_latency(self, latency: float) -> Question:
        """Return the same question with another target."""
        return replace(self, slo=replace(self.slo, latency=latency))

    def to_dict(self) -> dict[str, Any]:
        """Return the question as JSON values; the trace by hash."""
        weights = zip((self.quality, "latency", "cost"), self.weights.shares, strict=True)
        return {
            "trace": {"name": self.trace.name, "digest": self.trace.digest},
            "slo": {"latency": self.slo.latency, "quantile": self.slo.quantile},
            "inference_types": list(self.options.kinds),
            "needs": {
                name: asdict(wanted) if isinstance(wanted, Bounds) else wanted
                for name, wanted in self.needs.items()
            },
            "weights": None if self.target is not None else dict(weights),
            "target": self.target,
            "confidence": self.confidence,
            "budget": self.budget,
        }


def _read_options(
    deployments: Sequence[Deployment | str] | None, options: Options | None
) -> Options:
    """Return options of deployments or kinds of them; what is said of them in options goes on."""
    options = Options() if options is None else of_kind("options", options, Options, "Options")
    if {SCALED, HYBRID} & set(options.kinds):
        raise InvalidInput(
            "Models are compared by inference type, not by fleets that change size: select first, "
            "then plan for the model with Options(scaled=True, hybrid=True)."
        )
    if deployments is None:
        return options
    given = as_tuple("deployments", deployments)
    for each in given:
        if not isinstance(each, Deployment) and each not in KINDS:
            raise InvalidInput(
                f"deployments must be deployments or of {', '.join(KINDS)}; got {each!r}."
            )
    values = [each for each in given if isinstance(each, Deployment)]
    kinds = [each if isinstance(each, str) else each.kind for each in given]
    return replace(options, kinds=kinds, deployments=values)
