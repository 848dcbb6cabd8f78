"""Pages of what SageMaker's List operations return, filtered and sorted as their parameters say."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.localcloud.core.protocol import validation_error

_MAX_RESULTS = 100  # SageMaker's own limit of MaxResults, and what it returns without one is fewer


def paginate(
    summaries: Sequence[Mapping[str, Any]],
    parameters: Mapping[str, Any],
    *,
    name: str,
    equal: Mapping[str, str] | None = None,
    order: str = "Descending",
    sorts: Mapping[str, str] | None = None,
    tie: Callable[[Mapping[str, Any]], list[Any]] | None = None,
) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
    """Return the summaries of one page, and `{"NextToken": ...}` where more follow.

    Understood are NameContains, CreationTimeAfter and -Before, LastModifiedTimeAfter and -Before,
    SortBy, SortOrder, MaxResults and NextToken.

    Args:
        summaries: All there are, each with the member `CreationTime`.
        parameters: Of the operation.
        name: The summaries' member that is their name.
        equal: Members that must be equal to a parameter where it is given, by parameter.
        order: What the operation does without SortOrder.
        sorts: The members for values of SortBy that are not names of members themselves.
        tie: What tells summaries apart that are equal in what they are sorted by; their name where
            this is not given. JSON values.

    Raises:
        AwsError: The token is not one of ours.
    """
    found = [each for each in summaries if _matches(each, parameters, name, equal or {})]
    by = parameters.get("SortBy", "CreationTime")
    member = (sorts or {}).get(by) or (name if by == "Name" else by)

    def sort_key(each: Mapping[str, Any]) -> list[Any]:
        return [each.get(member) or "", *(tie(each) if tie else [each[name]])]

    backwards = parameters.get("SortOrder", order) == "Descending"
    found.sort(key=sort_key, reverse=backwards)
    if "NextToken" in parameters:
        last = _decode_token(parameters["NextToken"])
        found = [each for each in found if _is_after(sort_key(each), last, backwards=backwards)]
    most = parameters.get("MaxResults", _MAX_RESULTS)
    rest = found[most:]
    return found[:most], {"NextToken": _encode_token(sort_key(found[most - 1]))} if rest else {}


def _matches(
    summary: Mapping[str, Any], parameters: Mapping[str, Any], name: str, equal: Mapping[str, str]
) -> bool:
    if parameters.get("NameContains", "").lower() not in str(summary[name]).lower():
        return False
    for member in ("CreationTime", "LastModifiedTime"):
        time = summary.get(member) or 0.0
        after, before = parameters.get(f"{member}After"), parameters.get(f"{member}Before")
        if (after is not None and time <= after) or (before is not None and time >= before):
            return False
    return all(
        summary.get(member) == parameters[given]
        for given, member in equal.items()
        if given in parameters
    )


def _is_after(sort_key: list[Any], last: list[Any], *, backwards: bool) -> bool:
    try:
        return sort_key < last if backwards else sort_key > last
    except TypeError:
        raise _token_error() from None


def _encode_token(sort_key: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(sort_key).encode()).decode()


def _decode_token(token: str) -> list[Any]:
    try:
        last = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        raise _token_error() from None
    if not isinstance(last, list):
        raise _token_error()
    return last


def _token_error() -> Exception:
    return validation_error("NextToken is not one that this operation returned. Start without it.")
