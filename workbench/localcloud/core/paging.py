"""Pages of what List and Describe operations return, and the tokens that continue them.

A token says where a page ended: by the sort key of its last item, where items have one, so that a
list stays right while items come and go; else by how many items came before.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from workbench.localcloud.core.protocol import AwsError

MAX_POSITION = 2**62
"""The greatest number that a token holds, which no list and no row's number comes near."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Pager:
    """How an operation divides what it returns into pages.

    Attributes:
        default: Items of a page where the request does not say.
        most: Items of a page at most, where that is not `default`.
        size, token: The parameters of the request.
        next_token: The member of the answer.
        error: AWS's name of the error for a token that it did not give.
    """

    default: int
    most: int | None = None
    size: str = "MaxResults"
    token: str = "NextToken"  # noqa: S105 - a parameter's name
    next_token: str = "NextToken"  # noqa: S105 - a member's name
    error: str = "InvalidNextToken"

    def page(
        self, found: Sequence[_T], parameters: Mapping[str, Any]
    ) -> tuple[list[_T], dict[str, str]]:
        """Return the items of a page, and the member with the next token where more follow.

        Raises:
            AwsError: The token is not one of ours.

        >>> first, more = Pager(2).page("abc", {})
        >>> first, Pager(2).page("abc", more)
        (['a', 'b'], (['c'], {}))
        """
        begin = self.start(parameters, 0)
        end = begin + self.limit(parameters)
        return list(found[begin:end]), self.continuation(end) if found[end:] else {}

    def cut(
        self, rest: Sequence[_T], parameters: Mapping[str, Any], key: Callable[[_T], Any]
    ) -> tuple[list[_T], dict[str, str]]:
        """Return the same of items that are sorted by a key and begin behind the request's token.

        `rest` has one item more than a page, if there is one; a key is JSON.
        """
        end = self.limit(parameters)
        return list(rest[:end]), self.continuation(key(rest[end - 1])) if rest[end:] else {}

    def limit(self, parameters: Mapping[str, Any]) -> int:
        """Return how many items a page has at most; of pages of none there would be no end."""
        asked = int(parameters.get(self.size, self.default))
        return max(1, min(asked, self.most or self.default))

    def start(self, parameters: Mapping[str, Any], default: _T) -> _T:
        """Return what the request's token says, a value of the default's type; else the default.

        Raises:
            AwsError: The token is not one of ours.
        """
        if not (token := parameters.get(self.token)):
            return default
        try:
            value = json.loads(base64.urlsafe_b64decode(token))
        except (ValueError, RecursionError):
            raise self.token_error() from None
        sound = not isinstance(value, int) or 0 <= value <= MAX_POSITION
        if type(value) is not type(default) or not sound:
            raise self.token_error()
        return value

    def continuation(self, value: Any) -> dict[str, str]:  # noqa: ANN401 - JSON
        """Return the member of an answer whose token says this."""
        return {self.next_token: base64.urlsafe_b64encode(json.dumps(value).encode()).decode()}

    def token_error(self) -> AwsError:
        """Return the answer to a token that is not one of ours."""
        return AwsError(
            self.error, f"{self.token} is not one that this operation returned. Start without it."
        )


_SAGEMAKER = Pager(100, error="ValidationException")  # botocore's model: MaxResults at most


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
    """Return the summaries of one page of SageMaker's, and `{"NextToken": ...}` where more follow.

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
    if last := _SAGEMAKER.start(parameters, list[Any]()):
        found = [each for each in found if _is_after(sort_key(each), last, backwards=backwards)]
    return _SAGEMAKER.cut(found, parameters, sort_key)


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
        raise _SAGEMAKER.token_error() from None
