"""Whether a model's answer to a row depends on the rows beside it: a trait of the model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["identical", "within tolerance", "changes", "non-deterministic", "broken"]


@dataclass(frozen=True, kw_only=True)
class NeighbourEffect:
    """How answers to rows changed beside others.

    Attributes:
        beside: What else was in the batch.
        rows: How many rows were compared.
        changed: How many of them had another answer in some batch, by more than the tolerance.
        labels: How many had another label; None where answers are no labels.
        deviation: The most by which a number differed, as a share of the largest in its row.
    """

    beside: str
    rows: int
    changed: int = 0
    labels: int | None = None
    deviation: float = 0.0

    @property
    def change(self) -> str:
        """What changed, in a few words; empty where nothing did."""
        if self.labels:
            return f"{self.labels} of {self.rows} labels change beside {self.beside}"
        if not self.changed:
            return ""
        what = "answers" if self.labels is None else "scores, but no labels,"
        percent = f"{min(100.0, round(100 * self.deviation, 2)):g} %"
        return (
            f"{self.changed} of {self.rows} {what} change beside {self.beside}, by up to {percent}"
        )


@dataclass(frozen=True, kw_only=True)
class BatchInvariance:
    """What was found when rows were run alone and together.

    Attributes:
        effects: What changed beside what.
        tolerance: The deviation that is still called the same answer.
        deterministic: Whether a row alone had one answer whenever it was asked.
        fault: Why batches cannot be trusted at all: too few answers, or in another order.
        left_out: What there was no time or room to try.
        accuracy: The model's figure by rows in a batch, where answers change.

    >>> effect = NeighbourEffect(beside="a large value", rows=15, labels=9, changed=9)
    >>> BatchInvariance(effects=(effect,))
    BatchInvariance(changes: 9 of 15 labels change beside a large value)
    """

    effects: tuple[NeighbourEffect, ...] = ()
    tolerance: float = 0.0
    deterministic: bool = True
    fault: str = ""
    left_out: str = ""
    accuracy: tuple[tuple[int, float], ...] = ()

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "BatchInvariance":
        """Return what `asdict` described."""
        effects = tuple(NeighbourEffect(**each) for each in facts["effects"])
        accuracy = tuple((int(size), float(figure)) for size, figure in facts["accuracy"])
        return cls(**{**facts, "effects": effects, "accuracy": accuracy})

    @property
    def verdict(self) -> Verdict:
        """What was found, in a word or two."""
        if self.fault:
            return "broken"
        if not self.deterministic:
            return "non-deterministic"
        if any(each.changed for each in self.effects):
            return "changes"
        return "within tolerance" if self.deviation else "identical"

    @property
    def invariant(self) -> bool:
        """Whether an answer is the same in any company."""
        return self.verdict in ("identical", "within tolerance")

    @property
    def deviation(self) -> float:
        """The most by which a number differed, as a share of the largest in its row."""
        return max((each.deviation for each in self.effects), default=0.0)

    @property
    def sentence(self) -> str:
        """What was found, without a full stop."""
        parts = list(self._describe())
        if self.accuracy:
            figures = (
                f"{figure:.3f} {f'in {size}s' if size > 1 else 'alone'}"
                for size, figure in self.accuracy
            )
            parts.append(f"score {', '.join(figures)}")
        if self.left_out:
            parts.append(f"not tried: {self.left_out}")
        return "; ".join(parts)

    def _describe(self) -> Iterator[str]:
        match self.verdict:
            case "broken":
                yield self.fault
            case "non-deterministic":
                yield "the same row alone has several answers, so that none can be compared"
            case "changes":
                changes = [each for each in self.effects if each.change]
                worst = max(changes, key=lambda each: ((each.labels or 0), each.changed))
                also = ", ".join(each.beside for each in changes if each is not worst)
                yield worst.change + (f" (some also beside {also})" if also else "")
            case "within tolerance":
                yield (
                    f"rows together are answered as alone, but for {self.deviation:.1g} of the "
                    f"largest number in a row ({self.tolerance:g} is tolerated)"
                )
            case "identical":
                yield "rows together are answered as alone"

    def __str__(self) -> str:
        return f"{self.verdict}: {self.sentence}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"
