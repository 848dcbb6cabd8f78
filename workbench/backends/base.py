"""The one seam between load and whatever answers it: `invoke(batch)`.

A backend is a context manager: entering it makes it ready (a model is loaded, a connection
opened), leaving it gives everything back. In tests a backend is a function, see `FunctionBackend`.
"""

import math
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from numpy.typing import NDArray

from workbench.validation import whole_number

if TYPE_CHECKING:
    from concurrent.futures import Future


class Batch(NamedTuple):  # of which a run makes many: a tuple is made faster than a dataclass
    """What is sent at once.

    Attributes:
        inputs: The rows of its requests, stacked in order of arrival.
        requests: The numbers of its requests in the trace, which tell it from every other batch of
            a run; empty where its rows come from no trace.
        formed: When the buffer closed it, in seconds from the start of the trace; NaN without one.
    """

    inputs: NDArray[Any]
    requests: tuple[int, ...] = ()
    formed: float = math.nan


class Reply(NamedTuple):
    """What came back: one output row for each input row, in the same order.

    `cold` tells that a new instance was started for the batch, and `server` which one answered:
    None is the place in the backend that was called from, -1 one that cannot be known. An endpoint
    may tell apart the seconds that the model took and those that the platform added (NaN: it did
    not), of which `init` are those that the new instance took to start. `retries` counts the times
    that the batch was sent again. `age` is how many seconds the answer was there before `invoke`
    returned, where it says so itself.

    A backend of several places says by `origin` which of them answered.
    """

    outputs: NDArray[Any] | None = None
    cold: bool = False
    server: int | None = None
    model_latency: float = math.nan
    overhead_latency: float = math.nan
    init: float = 0.0
    retries: int = 0
    age: float = 0.0
    origin: "Origin | None" = None


class Origin(NamedTuple):
    """Where a reply comes from, of several places."""

    place: int = 0
    """Its number."""
    delay: float = 0.0
    """Seconds from `invoke` until the call was sent."""
    others: "tuple[Future[EndedCall], ...]" = ()
    """Calls that were made, too, and whose answer does not count."""


class EndedCall(NamedTuple):
    """A call that ended, well or not, with the seconds that had passed since `invoke` by then."""

    ended: float
    reply: Reply
    error: Exception | None = None


def origin_of(reply: Reply) -> Origin:
    """Return where a reply comes from: place 0, at once, where it does not say.

    >>> origin_of(Reply()).place
    0
    """
    return reply.origin or Origin()


class Backend(Protocol):
    """A place where batches are answered."""

    concurrency: int
    """How many batches may be in flight at once; further ones wait at the client, in order."""

    def __enter__(self) -> Self:
        """Make ready."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give everything back; doing so twice is harmless."""

    def invoke(self, batch: Batch) -> Reply:
        """Answer a batch, or raise: then every request of the batch has failed.

        Called from up to `concurrency` threads at once.
        """


class FunctionBackend:
    """A backend out of a function from inputs to outputs.

    >>> import numpy as np
    >>> with FunctionBackend(lambda inputs: inputs.sum(axis=1)) as backend:
    ...     backend.invoke(Batch(np.ones((2, 3)))).outputs
    array([3., 3.])
    """

    def __init__(
        self, function: Callable[[NDArray[Any]], NDArray[Any] | None], *, concurrency: int = 1
    ) -> None:
        self.concurrency = whole_number("concurrency", concurrency, low=1)
        self._function = function

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def invoke(self, batch: Batch) -> Reply:
        """Apply the function."""
        return Reply(self._function(batch.inputs))
