"""A value of another kind is refused by name, where it is given, in every field and function."""

import dataclasses
import inspect
import math
from functools import partial

import numpy as np
import pytest

import workbench as wb

# made by the workbench alone, or by a function of their own, which checks
_RESULTS = {"Cost", "LocalCloud", "Model", "Plan", "Prediction", "PriceSheet", "Profile", "Run"}
_RESULTS |= {"Selection", "ServiceTimes", "Transformed"}

_TRACE = wb.poisson(rate=50, duration=20, seed=1)
_ONE = wb.InstanceCapacity(instance_type="ml.m5.large", rate=10, hourly_price=0.1)
_MACHINES = wb.RealTime(instance_type="ml.m5.large", count=2)
_CALLS = wb.Lambda(memory_mb=1769, max_concurrency=3)


class Nothing:
    """Of no kind that anything takes."""


def _examples(model):
    """Return a value of each public kind that has fields."""
    from workbench.forecasts.naive import Persistence

    plain = [getattr(wb, name) for name in wb.__all__]
    plain = [kind for kind in plain if inspect.isclass(kind) and dataclasses.is_dataclass(kind)]
    free = [kind() for kind in plain if not _required(kind)]
    return [
        *free,
        _TRACE,
        _ONE,
        _MACHINES,
        _CALLS,
        wb.Async(instance_type="ml.m5.large", count=1),
        wb.BatchTransform(instance_type="ml.m5.large", count=1),
        wb.ByDeadline(latency=0.1, service=[0.01, 0.02]),
        wb.Canary(place="a", share=0.1),
        wb.Cascade("a", "b", threshold=0.5),
        wb.DeadlineAware(latency=0.1, service=(0.01, 0.02)),
        wb.Ensemble(
            {"a": wb.Member(model, wb.Local()), "b": wb.Member(model, wb.Local())},
            wb.Cascade("a", "b", threshold=0.5),
        ),
        wb.Experiment(model, _CALLS, _TRACE),
        wb.Hedge(after=0.1),
        wb.Hybrid(base=_MACHINES, overflow=_CALLS),
        wb.LambdaManaged(["c7g.xlarge"]),
        wb.MArkDescribed(capacity=_ONE),
        wb.MArkReleased(capacity=_ONE),
        wb.Member(model, wb.Local()),
        wb.MixedFleet(parts=(_MACHINES, wb.RealTime(instance_type="ml.c5.xlarge", count=1))),
        wb.OnPremise(servers=2, purchase_price=1000, lifetime_years=3, power_watts=100),
        wb.Predictive(forecaster=Persistence(), capacity=_ONE),
        wb.Replanned(settings=[(0, wb.BatchPolicy())]),
        wb.SLO(latency=0.1),
        wb.Samples(np.ones((3, 2))),
        wb.Schedule([(0, 1)]),
        wb.Scheduled(phases=((0, wb.RoundRobin()),)),
        wb.Serverless(memory_mb=2048, max_concurrency=5),
        wb.Shadow(place="a"),
        wb.SpotHedge(policy=wb.TargetTracking(target=5), spot="ml.m5.large"),
        wb.SpotPool(instance_type="ml.m5.large", hourly_price=0.1, priced_on="2026-01-01"),
        wb.Steered(latency=0.1),
        wb.TargetTracking(target=5),
        wb.Vote(["a", "b"]),
        wb.WorkConserving(max_size=4),
    ]


def _required(kind):
    """Return the parameters that have no default."""
    given = inspect.signature(kind).parameters.values()
    free = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return [each for each in given if each.default is each.empty and each.kind not in free]


def _is_value(name):
    kind = getattr(wb, name)
    return inspect.isclass(kind) and dataclasses.is_dataclass(kind) and name not in _RESULTS


def _is_called(name):
    called = getattr(wb, name)
    return callable(called) and not (inspect.isclass(called) and issubclass(called, Exception))


@pytest.fixture(scope="module")
def examples(registry):
    made = _examples(registry["digits-mlp-small"])
    return {type(each).__name__: each for each in made}


def _refuses(make, *, always=False):
    """Whether it raises an error of the workbench, and no other; `always`: nothing else will do."""
    try:
        make()
    except wb.WorkbenchError:
        return True
    return not always


@pytest.mark.parametrize("name", [name for name in wb.__all__ if _is_value(name)])
def test_a_field_refuses_what_is_of_no_kind_for_it(examples, name):
    value = examples[name]
    for field in (each.name for each in dataclasses.fields(value) if each.init):
        now = getattr(value, field)
        for given in (Nothing(), math.nan, *([] if isinstance(now, bool) else [True])):
            changed = partial(dataclasses.replace, value, **{field: given})
            assert _refuses(changed, always=True), f"{field} takes {given!r}"
        for given in ("x", -1, [1], None):  # some of which fit
            assert _refuses(partial(dataclasses.replace, value, **{field: given}))


@pytest.mark.parametrize("name", [name for name in wb.__all__ if _is_called(name)])
@pytest.mark.usefixtures("at_home")
def test_what_is_called_with_another_kind_refuses_it_by_an_error_of_its_own(name):
    function = getattr(wb, name)
    needed = _required(function)
    for given in (3, "x", None, [1]) if needed else ():
        by_name = {each.name: given for each in needed if each.kind is each.KEYWORD_ONLY}
        by_place = [given for each in needed if each.kind is not each.KEYWORD_ONLY]
        assert _refuses(partial(function, *by_place, **by_name))
