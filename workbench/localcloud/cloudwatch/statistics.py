"""What is read out of metrics: statistics by period, and arithmetic with them.

Periods begin at the start that is asked from, rounded down to the minute (to the period, where that
is shorter), so that one period as long as the window holds exactly the window.
"""

import ast
import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from workbench.localcloud.cloudwatch.metrics import (
    MINUTE,
    Metrics,
    Summary,
    choose_unit,
    metric_key,
)
from workbench.localcloud.core.protocol import AwsError, not_implemented_error

Values = dict[int, float]
"""Values by the start of their period, in seconds since 1970."""

Points = dict[str, list[tuple[int, Summary]]]
"""What is known of periods, each by its start, by unit."""

_BASIC_STATISTICS: dict[str, Callable[[Summary], float]] = {
    "SampleCount": lambda summary: summary.count,
    "Average": lambda summary: summary.average,
    "Sum": lambda summary: summary.sum,
    "Minimum": lambda summary: summary.least,
    "Maximum": lambda summary: summary.most,
}
_PERCENTILE = re.compile(r"p(\d{1,3}(?:\.\d{0,10})?)")
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda one, other: one / other if other else math.nan,
}
_ID = re.compile("[a-z][a-zA-Z0-9_]*")


def metrics_validation_error(message: str) -> AwsError:
    """Return what CloudWatch answers to parameters that do not fit."""
    return AwsError("ValidationError", message)


def parse_statistic(name: str) -> Callable[[Summary], float | None]:
    """Return what computes a statistic: SampleCount, ..., Maximum, or a percentile like p99.9.

    Raises:
        AwsError: There is none of that name, or it is not offered.
    """
    if name in _BASIC_STATISTICS:
        return _BASIC_STATISTICS[name]
    found = _PERCENTILE.fullmatch(name)
    if found and float(found[1]) <= 100:
        share = float(found[1]) / 100
        return lambda summary: summary.quantile(share)
    if re.fullmatch(r"(?:tm|wm|tc|ts|TM|WM|TC|TS|PR)[\d(].*|IQM", name):
        raise not_implemented_error(f"The statistic {name}")
    raise metrics_validation_error(
        f"There is no statistic {name}: take {', '.join(_BASIC_STATISTICS)} or one like p99."
    )


def summarize_by_period(
    metrics: Metrics,
    metric: Mapping[str, Any],
    *,
    period: int,
    start: float,
    end: float,
    unit: str | None = None,
) -> Points:
    """Return, by unit, what is known of each period in [start, end), by time, without empty ones.

    Args:
        metrics: All there are.
        metric: Namespace, MetricName and, where it has some, Dimensions.
        period: Seconds: 1, 5, 10, 20, 30 or a multiple of 60.
        start: Seconds since 1970.
        end: Likewise.
        unit: The one that is asked for; None for all.

    Raises:
        AwsError: The period is not one of these, or the window is empty.
    """
    # API reference, GetMetricStatistics: Period
    if period % MINUTE and period not in (1, 5, 10, 20, 30):
        raise metrics_validation_error(
            f"Period must be 1, 5, 10, 20, 30 or a multiple of 60, got {period}."
        )
    if int(start) == int(end):  # in whole seconds, since CloudWatch drops the rest
        raise metrics_validation_error("The parameter StartTime must not equal parameter EndTime.")
    if start > end:
        raise metrics_validation_error("The parameter EndTime must be greater than StartTime.")
    width = min(period, MINUTE)
    origin = int(start) // width * width
    key = metric_key(metric["Namespace"], metric["MetricName"], dimensions(metric))
    points = metrics.points(key, start=origin, end=end)
    by_unit: Points = {}
    for each, found in points.items():
        if unit in (None, each):
            periods: dict[int, Summary] = {}
            for at, summary in found:
                begin = origin + (at - origin) // period * period
                periods.setdefault(begin, Summary()).merge(summary)
            by_unit[each] = sorted(periods.items())
    return by_unit


def dimensions(metric: Mapping[str, Any]) -> dict[str, str]:
    """Return the dimensions of a metric by name."""
    return {each["Name"]: each["Value"] for each in metric.get("Dimensions", [])}


def evaluate_queries(
    metrics: Metrics, queries: Iterable[Mapping[str, Any]], *, start: float, end: float
) -> list[tuple[Mapping[str, Any], dict[str, Values]]]:
    """Return the queries of a GetMetricData that are to be returned, each with its values by unit.

    What an expression makes of a metric in several units AWS leaves open: here, the newest's.

    Raises:
        AwsError: A query is not sound, or asks for what is not offered.
    """
    asked = {query["Id"]: query for query in queries}
    for query in asked.values():
        _check_query(query)
    found: dict[str, dict[str, Values]] = {}

    @cache  # most ask for several statistics of one metric
    def summarize(about: str) -> Points:
        wanted = json.loads(about)
        period, unit = wanted["Period"], wanted.get("Unit")
        return summarize_by_period(
            metrics, wanted["Metric"], period=period, start=start, end=end, unit=unit
        )

    def find(name: str, above: tuple[str, ...] = ()) -> dict[str, Values]:
        if name not in asked:
            raise metrics_validation_error(f'There is no query with the Id "{name}".')
        if name in above:
            raise metrics_validation_error(f'The expression "{name}" depends on itself.')
        if name not in found:
            query = asked[name]
            if "Expression" in query:
                values = _evaluate_expression(
                    query["Expression"], lambda each: choose_values(find(each, (*above, name)))
                )
                found[name] = {"": values} if values else {}
            else:
                about = dict(query["MetricStat"])
                compute = parse_statistic(about.pop("Stat"))
                points = summarize(json.dumps(about, sort_keys=True))
                found[name] = compute_values(points, compute)
        return found[name]

    return [(query, find(name)) for name, query in asked.items() if query.get("ReturnData", True)]


def _check_query(query: Mapping[str, Any]) -> None:
    name, metric = query["Id"], query.get("MetricStat", {}).get("Metric")
    if not _ID.fullmatch(name):
        raise metrics_validation_error(
            f'Id must begin with a lower-case letter, and "{name}" does not.'
        )
    if ("MetricStat" in query) == ("Expression" in query):
        raise metrics_validation_error(f'The query "{name}" needs a MetricStat or an Expression.')
    if metric is not None and not (metric.get("Namespace") and metric.get("MetricName")):
        raise metrics_validation_error(
            f'The metric of "{name}" needs a Namespace and a MetricName.'
        )


def choose_values(by_unit: Mapping[str, Values]) -> Values:
    """Return the values in one unit: the newest's."""
    return by_unit.get(choose_unit(by_unit), {})


def compute_values(points: Points, compute: Callable[[Summary], float | None]) -> dict[str, Values]:
    """Return a statistic of each period by unit, where it has one."""
    found = {
        unit: {at: value for at, summary in each if (value := compute(summary)) is not None}
        for unit, each in points.items()
    }
    return {unit: values for unit, values in found.items() if values}


def _evaluate_expression(expression: str, others: Callable[[str], Values]) -> Values:
    """Return what arithmetic with other queries comes to, where all of them have values."""
    try:
        result = _evaluate_node(ast.parse(expression.strip(), mode="eval").body, others)
    except (SyntaxError, RecursionError, ValueError, OverflowError) as error:
        raise metrics_validation_error(f"The expression {expression!r} cannot be read.") from error
    if isinstance(result, float):
        raise metrics_validation_error(
            f"The expression {expression!r} is a number, not a time series."
        )
    return result


def _evaluate_node(node: ast.expr, others: Callable[[str], Values]) -> Values | float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return others(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _combine(operator.sub, 0.0, _evaluate_node(operand, others))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            compute = _OPERATORS[type(op)]
            return _combine(compute, _evaluate_node(left, others), _evaluate_node(right, others))
        case _:
            raise not_implemented_error("Metric math besides +, -, *, / and parentheses")


def _combine(
    compute: Callable[[float, float], float], left: Values | float, right: Values | float
) -> Values | float:
    if isinstance(left, float) and isinstance(right, float):
        return compute(left, right)
    series = [each for each in (left, right) if isinstance(each, dict)]
    found: Values = {}
    for at in series[0].keys() & series[-1].keys():
        one = left[at] if isinstance(left, dict) else left
        other = right[at] if isinstance(right, dict) else right
        if math.isfinite(value := compute(one, other)):  # nothing comes of a division by zero
            found[at] = value
    return found
