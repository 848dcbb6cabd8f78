"""What a cloud tells of an endpoint: its metrics, its trail, its alarms, and what they miss."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from workbench.errors import InvalidInput
from workbench.findings.conclusion import Conclusion
from workbench.formatting import duration, percent

if TYPE_CHECKING:
    from workbench.cloud.monitor import BurnRate
    from workbench.measuring.outcomes import Accuracy
    from workbench.run import Run

_NOTICED = 0.05  # of the answers: so many fewer are right that it is no chance


def compare_metrics(metrics: pl.DataFrame, run: "Run") -> Conclusion:
    """Say whether CloudWatch counted each of a run's calls, and that clients waited longer.

    Args:
        metrics: From `workbench.cloud.monitor.metrics`, of an endpoint that this run alone called.
        run: With a call for each request.
    """
    calls = int(metrics.filter(metric="Invocations", statistic="Sum")["value"].sum())
    inside = metrics.filter(metric="ModelLatency", statistic="p50")["value"].to_numpy()
    text = f"CloudWatch counted {calls} calls, the client sent {len(run)}"
    if not len(inside):
        return Conclusion(f"{text}.", holds=False)
    most, waited = float(inside.max()), float(np.median(run.latencies))
    text += f"; half of them took the model {duration(most)} at most, and the client waited "
    text += duration(waited)
    return Conclusion(f"{text}.", holds=calls == len(run) and waited > most)


def trace_changes(trail: pl.DataFrame, events: pl.DataFrame, endpoint: str) -> Conclusion:
    """Say whether who made an endpoint is on the trail, and that it changed is an event.

    Args:
        trail: From `workbench.cloud.monitor.trail`.
        events: From `workbench.cloud.monitor.EventSubscription.read`.
        endpoint: Its name.
    """
    calls = trail.filter(pl.col("resources").list.contains(endpoint))
    who = ", ".join(sorted(set(calls["user"]))) or "nobody"
    refused = calls["error"].drop_nulls().len()
    changes = events.filter(pl.col("detail").str.contains(endpoint, literal=True))
    names = ", ".join(calls.sort("time")["event"].unique(maintain_order=True))
    text = (
        f"The trail has {calls.height} calls about the endpoint ({names}), by {who}, {refused} of "
        f"them refused; {changes.height} events say that it changed"
    )
    return Conclusion(f"{text}.", holds=bool(calls.height and changes.height))


def measure_burn(run: "Run", burn: "BurnRate") -> Conclusion:
    """Say whether a run uses up its target's allowance of late requests as fast as an alarm minds.

    Late is what the client waited for longer than the target.
    """
    late = 1 - run.attainment(burn.slo)
    allowed = 1 - burn.slo.quantile
    text = (
        f"{percent(late)} of {len(run)} requests took longer than {duration(burn.slo.latency)}, "
        f"where {percent(allowed)} may: the allowance goes {late / allowed:.3g} times as fast as "
        f"it may, and the alarm is set at {burn.rate:g}"
    )
    return Conclusion(f"{text}.", holds=late / allowed > burn.rate)


def judge_alarm(alarms: pl.DataFrame, began: float) -> Conclusion:
    """Say whether an alarm went off, and how long after the traffic that caused it began.

    Args:
        alarms: From `workbench.cloud.monitor.alarms`: one.
        began: When that traffic began, in seconds since 1970.
    """
    alarm = alarms.row(0, named=True)
    if alarm["state"] != "ALARM":
        text = f"The alarm is {alarm['state']}: CloudWatch judges whole minutes, when they are over"
        return Conclusion(f"{text}. {alarm['reason']}", None)
    text = f"The alarm went off {duration(alarm['time'].timestamp() - began)} after the traffic"
    return Conclusion(f"{text} began. {alarm['reason']}")


def find_silent_fault(drift: pl.DataFrame, before: "Run", after: "Run") -> Conclusion:
    """Say whether what a cloud sees is enough to notice a fault that makes answers wrong.

    Where no more calls fail than before it is so only if inputs are watched as well, and not at
    all if these have not drifted. Where answers are as right as before there is nothing to notice.

    Args:
        drift: From `workbench.input_drift`, of the inputs of the second run.
        before: A run whose right answers are known.
        after: Another, with other inputs.

    Raises:
        InvalidInput: They are not.
    """
    right = [_right_share(run) for run in (before, after)]
    failed = [len(run) - run.answered for run in (before, after)]
    middle = [duration(float(run.frame["latency"].drop_nans().median())) for run in (before, after)]  # type: ignore[arg-type]
    drifted = int(drift["drifted"].sum())
    text = (
        f"{percent(right[0])} of the answers were right, then {percent(right[1])}; calls that "
        f"failed: {failed[0]}, then {failed[1]}; median latency: {middle[0]}, then {middle[1]}; "
        f"{drifted} of {drift.height} inputs drifted."
    )
    if right[0] - right[1] <= _NOTICED:
        return Conclusion(text, None)
    if failed[1] > failed[0]:
        return Conclusion(text)
    return Conclusion(text, holds=bool(drifted), only_if="inputs are watched as well")


def weigh_retraining(accuracies: "Mapping[str, Accuracy]") -> Conclusion:
    """Say whether a retraining made up for a drift: its interval lies above the one before it.

    Args:
        accuracies: Before the drift, with it, and after the retraining, by name.

    Raises:
        InvalidInput: There are not three.
    """
    if len(accuracies) != 3:
        raise InvalidInput(f"That takes three accuracies, got {list(accuracies)}.")
    _, drifted, again = accuracies.values()
    said = "; ".join(f"{name}: {percent(each.share)}" for name, each in accuracies.items())
    return Conclusion(f"Right were: {said}.", holds=again.low > drifted.high)


def _right_share(run: "Run") -> float:
    right = run.frame["correct"].drop_nulls().drop_nans().to_numpy()
    if not len(right):
        raise InvalidInput(f"Which answers of {run.label} are right is not known.")
    return float(right.mean())
