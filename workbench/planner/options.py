"""What a plan may choose from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from workbench.deployment import KINDS, Deployment
from workbench.deployment.base import PlanChoices, Size, is_by_job
from workbench.deployment.platforms import BOOT
from workbench.errors import InvalidInput
from workbench.forecasts.base import Forecaster
from workbench.planner.candidates import HYBRID, SCALED
from workbench.pricing.sheet import PriceSheet
from workbench.registry.model import Model
from workbench.scaling.predictive import check_forecaster
from workbench.service_times import ServiceTimes
from workbench.settings import amount, positive_amount, whole
from workbench.simulator import sort_starts
from workbench.validation import (
    as_tuple,
    choose,
    generator_from,
    inner_share,
    not_negative,
    of_kind,
    positive_share,
    whole_number,
)

SELF_SCALED = tuple(
    kind for kind, each in KINDS.items() if getattr(each.example().platform, "scaling", None)
)
"""The inference types whose platform changes their size by itself."""

CLOUD_KINDS = tuple(
    kind
    for kind, each in sorted(KINDS.items(), key=lambda item: not item[1].on_demand)
    if each.needs and kind not in SELF_SCALED
)
"""The inference types that are searched by default: those on demand first."""

_PERIODS = (60.0, 900.0, 3600.0)  # seconds between jobs

FUNCTIONS = tuple(kind for kind in CLOUD_KINDS if KINDS[kind].on_demand)
"""The inference types that take the overflow of a hybrid."""

MAX_SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)
"""The batch sizes that are searched by default."""


@dataclass(frozen=True, kw_only=True)
class Options(PlanChoices):
    """What a plan may choose from, and what it takes for granted.

    Attributes:
        kinds: the inference types searched.
        serverless_memory_mb: memory sizes of SageMaker serverless endpoints; by default those that
            new accounts have, to 3072. There are 4096, 5120 and 6144, too.
        lambda_memory_mb: memory sizes of Lambda functions; likewise, to 3008 of 10240.
        instance_types: those of real-time, asynchronous and batch transform.
        managed_instance_types: EC2's, of Lambda on managed instances.
        max_count: the most instances of a fleet.
        max_sizes: the most requests in a batch; None: steps from 1 to what service times cover,
            64 at most.
        max_waits: the longest waits for a batch, in seconds; None: 24 steps from a hundredth of the
            target to the whole of it.
        even_if_answers_change: whether to batch requests of a model that the registry knows to
            answer a row in another way beside others; by default each goes alone.
        periods: times between the jobs of batch transform, in seconds; None: a minute, a quarter of
            an hour and an hour, and 8 steps to the whole of the target.
        serverless_concurrency: the most calls in flight, AWS's quota of an endpoint.
        lambda_concurrency: likewise; what a function may reserve of an account's default quota.
        keep_alive: how long an idle on-demand instance is kept, in seconds; inferred.
        cold_start: how long an on-demand instance takes to start, in seconds, or measured ones to
            draw from; None: no time, and the plan says so.
        boot: how long an instance takes to boot, in seconds; billed, except for jobs. By default
            what MArk charges for a launch (C. Zhang et al., ATC 2019).
        deployments: further candidates, such as a machine of one's own, Local(hourly_price=0.1).
            Of their inference types no others are searched; where instances are counted, their
            number is varied.
        headroom: the share of the target that a pick leaves on the trace: with 0.1 its quantile is
            90 ms at most of 100. 0: none. Where nothing leaves so much, the least latency wins.
        unseen_draws: other days on which each pick is tried; 0: none.
        unseen_share: the share of them on which a pick must keep to the target.
        held_out: the share of the trace, its end, that no choice sees and picks are judged on: for
            a recorded trace of several hours. 0: they are judged on as many further draws.
        row_bytes: bytes of a row in a request, which count where the trace does not tell its own;
            None: those of the model, where one is given.
        answer_bytes: bytes of the answer to a row; None: likewise.
        model_memory: bytes of memory that the model takes while it answers; None: at least those
            of its file, where one is given.
        measured: measured service times by deployment that go before the scaling rule: as in
            `workbench.deployment.vcpu_rule.service_on`.
        threads: of a session, where service times come from a profile.
        finalists: the most simulations of one inference type.
        seed: of the simulations.
        prices: the price sheet, by default that of us-east-1.
        scaled: whether to search fleets that change size, too: real-time ones by target tracking,
            and those that AWS scales itself (Lambda on managed instances).
        hybrid: whether to search fleets whose overflow goes to functions, too; each is of one
            instance type.
        forecaster: what such fleets are scaled ahead by, one or several to compare; None: what came
            last comes again (`Persistence`), or nothing where no hybrid is searched.
        deciding_price: dollars an hour of the machine that plans; None: that of an ml.m5.large.

    Raises:
        InvalidInput: A choice is empty or out of its limits.

    >>> Options(kinds=["lambda"], max_sizes=[1, 8]).max_sizes
    (1, 8)
    """

    kinds: Sequence[str] = CLOUD_KINDS
    max_count: int = 200
    max_sizes: Sequence[int] | None = None
    even_if_answers_change: bool = False
    max_waits: Sequence[float] | None = None
    periods: Sequence[float] | None = None
    cold_start: ArrayLike | None = None
    boot: float = BOOT
    deployments: Sequence[Deployment] = ()
    headroom: float = 0.1
    unseen_draws: int = 20
    unseen_share: float = 0.95
    held_out: float = 0.0
    row_bytes: float | None = None
    answer_bytes: float | None = None
    model_memory: float | None = None
    measured: Mapping[Size, ServiceTimes] | None = None
    finalists: int = 12
    seed: int = 0
    prices: PriceSheet = field(default_factory=PriceSheet.load)
    deciding_price: float | None = None
    scaled: bool = False
    hybrid: bool = False
    forecaster: Forecaster | Sequence[Forecaster] | None = None

    def __new__(cls, **choices: Any) -> Self:  # noqa: ANN401 - the fields above
        """Refuse choices that there are none of, which a dataclass does without a word of help."""
        names = [each.name for each in fields(cls)]
        if unknown := [name for name in choices if name not in names]:
            raise InvalidInput(
                f"Options has no {', '.join(unknown)}. Choose of {', '.join(names)}; a machine of "
                "one's own is one of deployments=[Local(hourly_price=0.1)]."
            )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        self._check_numbers()
        for name in ("even_if_answers_change", "scaled", "hybrid"):
            of_kind(name, getattr(self, name), bool, "True or False")
        of_kind("prices", self.prices, PriceSheet)
        if self.measured is not None:
            of_kind("measured", self.measured, Mapping, "service times by memory or instance type")
        self._set_choices()
        self._set_kinds()
        self._check_forecasters()
        for kind in self.kinds:
            self.places(kind)  # each checks its own settings

    def _check_numbers(self) -> None:
        for name in ("max_count", "finalists", "threads"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), low=1))
        object.__setattr__(
            self, "unseen_draws", whole_number("unseen_draws", self.unseen_draws, low=0)
        )
        positive_share("unseen_share", self.unseen_share)
        for name in ("headroom", "held_out"):
            if getattr(self, name):
                inner_share(name, getattr(self, name))
        sort_starts("cold_start", self.cold_start)
        not_negative("boot", self.boot, "seconds")
        for name in ("row_bytes", "answer_bytes", "model_memory"):
            if getattr(self, name) is not None:
                not_negative(name, getattr(self, name), "bytes")
        if self.deciding_price is not None:
            not_negative("deciding_price", self.deciding_price, "US dollars")
        generator_from(self.seed)

    def _set_choices(self) -> None:
        deployments = as_tuple("deployments", self.deployments)
        for each in deployments:
            of_kind("Each of deployments", each, Deployment)
        object.__setattr__(self, "deployments", deployments)
        several = ("instance_types", "managed_instance_types")
        for name in ("serverless_memory_mb", "lambda_memory_mb", *several):
            object.__setattr__(self, name, _choices(name, getattr(self, name)))
        for name, check in (
            ("periods", positive_amount("seconds")),
            ("max_sizes", whole(1)),
            ("max_waits", amount("seconds")),
        ):
            if getattr(self, name) is not None:
                each = f"A {name[:-1]}"
                chosen = {check(each, value) for value in _choices(name, getattr(self, name))}
                object.__setattr__(self, name, tuple(sorted(chosen)))

    def _set_kinds(self) -> None:
        kinds = _choices("kinds", self.kinds)
        given = tuple(each.kind for each in self.deployments)
        known = tuple(dict.fromkeys((*CLOUD_KINDS, *SELF_SCALED, *given, SCALED, HYBRID)))
        for kind in kinds:
            if kind not in known and kind in KINDS:
                raise InvalidInput(
                    f"A plan has no {kind} of its own to try: give yours as "
                    f"deployments=[{KINDS[kind].__name__}(...)]."
                )
            choose("Each of kinds", kind, known)
        more = (SCALED, *SELF_SCALED) if self.scaled else ()
        more += (HYBRID,) if self.hybrid else ()
        object.__setattr__(self, "kinds", tuple(dict.fromkeys((*kinds, *given, *more))))

    def _check_forecasters(self) -> None:
        """Check the forecasters, and that there is something that they scale."""
        given = () if self.forecaster is None else self.forecasters
        for each in given:
            check_forecaster(each)
        if given and HYBRID not in self.kinds:
            raise InvalidInput(
                "A forecaster scales the instances of a hybrid, and none is searched: give "
                "Options(hybrid=True, forecaster=...), or leave it out."
            )

    @property
    def forecasters(self) -> tuple[Forecaster, ...]:
        """What hybrids are scaled ahead by."""
        given = self.forecaster
        if given is None:
            from workbench.forecasts.naive import Persistence

            return (Persistence(),)
        if isinstance(given, str) or not isinstance(given, Sequence):
            return (given,)
        return tuple(given)

    @property
    def overflow_kinds(self) -> tuple[str, ...]:
        """The functions that a hybrid may have: those that are searched, all where none is."""
        searched = tuple(kind for kind in FUNCTIONS if kind in self.kinds)
        return searched or FUNCTIONS

    def only(self, kind: str) -> "Options":
        """Return options that search nothing else, but deployments of one's own."""
        keep = self.forecaster if kind == HYBRID else None
        return replace(self, kinds=(kind,), scaled=False, hybrid=False, forecaster=keep)

    def spare(self, model: Model) -> tuple["Options", str]:
        """Return what may be chosen for a model, and what was left out to spare its answers.

        Raises:
            InvalidInput: Nothing is left.
        """
        caveat = model.traits.batch_caveat
        if model.traits.one_row:
            note = f"{model.name} takes one row a call, so that every request goes alone."
            return replace(self, max_sizes=[1]), note
        if not caveat or self.even_if_answers_change:
            return self, ""
        kinds = [kind for kind in self.kinds if not is_by_job(kind)]
        if not kinds:
            raise InvalidInput(
                f"{caveat} Jobs answer requests together: allow other inference types, or "
                "Options(even_if_answers_change=True)."
            )
        left = [each for each in self.deployments if not each.by_job]
        note = (
            f"{caveat} So every request goes alone, and no jobs are planned; batches are with "
            "Options(even_if_answers_change=True)."
        )
        return replace(self, kinds=kinds, deployments=left, max_sizes=[1]), note

    @property
    def size_choices(self) -> Sequence[int]:
        """The max_sizes that are searched, whatever service times cover."""
        return self.max_sizes or MAX_SIZES

    def sizes(self, largest: int) -> tuple[list[int], str]:
        """Return the max_sizes that service times up to `largest` allow, and what to note.

        Raises:
            InvalidInput: None is left.
        """
        if self.max_sizes is None:
            return [size for size in MAX_SIZES if size <= largest], ""
        left = [size for size in self.max_sizes if size <= largest]
        if not left:
            raise InvalidInput(
                f"Service times cover batches of up to {largest}, and max_sizes start at "
                f"{min(self.max_sizes)}: profile larger batches; nothing is extrapolated."
            )
        cut = [size for size in self.max_sizes if size > largest]
        note = f"Batches of more than {largest} are left out: no service time covers them."
        return left, note if cut else ""

    def waits(self, target: float) -> list[float]:
        """Return the max_waits for a latency target."""
        if self.max_waits is not None:
            return list(self.max_waits)
        # each 1.2 times the one before
        return [0.0, *(float(f"{wait:.2g}") for wait in np.geomspace(0.01 * target, target, 24))]

    def job_periods(self, target: float) -> list[float]:
        """Return the periods of jobs for a latency target."""
        if self.periods is not None:
            return list(self.periods)
        # each 1.4 times the one before
        steps = (float(f"{step:.2g}") for step in np.geomspace(0.1 * target, target, 8))
        return sorted({*_PERIODS, *(step for step in steps if step > min(_PERIODS))})

    def places(self, kind: str) -> list[Deployment]:
        """Return the deployments of a type that are tried, of one instance each.

        Of fleets that change size, and of hybrids, those that they are made of.
        """
        if kind == SCALED:
            return self.places("real-time")
        if kind == HYBRID:
            kinds = ("real-time", *self.overflow_kinds)
            return [one for each in kinds for one in self.places(each)]
        if kind not in self._places:
            given = [each.with_count(1) for each in self.deployments if each.kind == kind]
            self._places[kind] = given or KINDS[kind].variants(self)
        return [*self._places[kind]]

    @cached_property
    def _places(self) -> dict[str, Sequence[Deployment]]:
        """Those of types that were asked for: a plan asks many times, and each is checked."""
        return {}

    @property
    def planning_price(self) -> float:
        """Dollars a second of the machine that plans."""
        hourly = self.deciding_price
        if hourly is None:
            hourly = self.prices.price("ml.m5.large").dollars
        return hourly / 3600


def _choices(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    chosen = () if isinstance(values, str | bytes) else as_tuple(name, values)
    if not chosen:
        raise InvalidInput(f"{name} must be a list of at least one choice, got {values!r}.")
    return chosen
