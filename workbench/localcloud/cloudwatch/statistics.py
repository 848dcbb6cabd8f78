"""What is read out of metrics: statistics by period, and arithmetic with them.

Periods begin at the start that is asked from, rounded down to the minute (to the period, where that
is shorter), so that one period as long as the window holds exactly the window.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from workbench.localcloud.cloudwatch.metrics import MINUTE, Metrics, Summary
from workbench.localcloud.core.protocol import AwsError, not_implemented_error

Values = dict[int, float]
"""Values by the start of their period, in seconds since 1970."""

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
    ast.Div: operator.truediv,
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
) -> list[tuple[int, Summary]]:
    """Return what is known of each period in [start, end), by time; empty ones are left out.

    Args:
        metrics: All there are.
        metric: Namespace, MetricName and, where it has some, Dimensions.
        period: Seconds: 1, 5, 10, 20, 30 or a multiple of 60.
        start: Seconds since 1970.
        end: Likewise.

    Raises:
        AwsError: The period is not one of these, or the window is empty.
    """
    if period % MINUTE and period not in (1, 5, 10, 20, 30):
        raise metrics_validation_error(
            f"Period must be 1, 5, 10, 20, 30 or a multiple of 60, got {period}."
        )
    if not start < end:
        raise metrics_validation_error(
            "The parameter StartTime must be less than the parameter EndTime."
        )
    width = min(period, MINUTE)
    origin = int(start) // width * width
    found: dict[int, Summary] = {}
    for at, summary in metrics.points(
        metric["Namespace"], metric["MetricName"], dimensions(metric), start=origin, end=end
    ):
        found.setdefault(origin + (at - origin) // period * period, Summary()).merge(summary)
    return sorted(found.items())


def dimensions(metric: Mapping[str, Any]) -> dict[str, str]:
    """Return the dimensions of a metric by name."""
    return {each["Name"]: each["Value"] for each in metric.get("Dimensions", [])}


def evaluate_queries(
    metrics: Metrics, queries: Iterable[Mapping[str, Any]], *, start: float, end: float
) -> list[tuple[Mapping[str, Any], Values]]:
    """Return the queries of a GetMetricData that are to be returned, each with its values.

    Raises:
        AwsError: A query is not sound, or asks for what is not offered.
    """
    asked = {query["Id"]: query for query in queries}
    for name in asked:
        if not _ID.fullmatch(name):
            raise metrics_validation_error(
                f'Id must begin with a lower-case letter, and "{name}" does not.'
            )
    found: dict[str, Values] = {}

    def values(name: str, above: tuple[str, ...] = ()) -> Values:
        if name not in asked:
            raise metrics_validation_error(f'There is no query with the Id "{name}".')
        if name in above:
            raise metrics_validation_error(f'The expression "{name}" depends on itself.')
        if name not in found:
            found[name] = _values(
                metrics, asked[name], lambda each: values(each, (*above, name)), start, end
            )
        return found[name]

    return [(query, values(name)) for name, query in asked.items() if query.get("ReturnData", True)]


def _values(
    metrics: Metrics,
    query: Mapping[str, Any],
    others: Callable[[str], Values],
    start: float,
    end: float,
) -> Values:
    if ("MetricStat" in query) == ("Expression" in query):
        raise metrics_validation_error(
            f'The query "{query["Id"]}" needs a MetricStat or an Expression.'
        )
    if "Expression" in query:
        return _evaluate_expression(query["Expression"], others)
    wanted = query["MetricStat"]
    metric = wanted["Metric"]
    if not metric.get("Namespace") or not metric.get("MetricName"):
        raise metrics_validation_error(
            f'The metric of "{query["Id"]}" needs a Namespace and a MetricName.'
        )
    compute = parse_statistic(wanted["Stat"])
    if "Unit" in wanted and wanted["Unit"] != metrics.unit(
        metric["Namespace"], metric["MetricName"], dimensions(metric)
    ):
        return {}
    points = summarize_by_period(metrics, metric, period=wanted["Period"], start=start, end=end)
    computed = {at: compute(summary) for at, summary in points}
    return {at: value for at, value in computed.items() if value is not None}


def _evaluate_expression(expression: str, others: Callable[[str], Values]) -> Values:
    """Return what arithmetic with other queries comes to, where all of them have values."""
    try:
        result = _evaluate_node(ast.parse(expression.strip(), mode="eval").body, others)
    except (SyntaxError, RecursionError, ValueError) as error:
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
        return compute(left, right) if compute is not operator.truediv or right else float("nan")
    times = set(left) if isinstance(left, dict) else set(right) if isinstance(right, dict) else ()
    if isinstance(left, dict) and isinstance(right, dict):
        times = set(left) & set(right)
    found: Values = {}
    for at in times:
        one = left[at] if isinstance(left, dict) else left
        other = right[at] if isinstance(right, dict) else right
        if compute is not operator.truediv or other:  # a division by zero has no value
            found[at] = compute(one, other)
    return found
