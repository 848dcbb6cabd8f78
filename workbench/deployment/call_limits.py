"""What a platform ends, refuses or cannot hold: a call's time and bytes, its start, the model."""

from collections.abc import Iterator
from typing import NamedTuple

from workbench.deployment.base import Deployment
from workbench.units import MB


class CallDemand(NamedTuple):
    """What the largest call asks of a platform: 0 and None where that is not known.

    Seconds of service, bytes of content before any encoding, bytes of memory that the model and a
    batch take, and seconds that an instance takes to start.
    """

    seconds: float = 0.0
    content: float = 0.0
    memory: float | None = None
    start: float = 0.0


def broken_limits(deployment: Deployment, demand: CallDemand) -> str:
    """Return which limits a call breaks, in words; "" where it breaks none.

    >>> from workbench.deployment import Serverless
    >>> broken_limits(Serverless(memory_mb=1024, max_concurrency=1), CallDemand(seconds=122.0))
    'a call takes 122 s, and serverless ends it after 60 s'
    """
    return "; ".join(each for part in deployment.simple_parts for each in _broken(part, demand))


def _broken(part: Deployment, demand: CallDemand) -> Iterator[str]:
    if part.call_limit is not None and demand.seconds > part.call_limit:
        yield (
            f"a call takes {demand.seconds:.4g} s, and {part.kind} ends it "
            f"after {part.call_limit:g} s"
        )
    sent = part.payload(int(demand.content))
    if part.payload_limit is not None and sent > part.payload_limit:
        yield (
            f"a call carries {sent / MB:.4g} MB{part.payload_encoding}, and {part.kind} takes "
            f"{part.payload_limit / MB:.4g} MB at most"
        )
    memory = part.memory
    if demand.memory is not None and memory is not None and demand.memory > memory:
        yield (
            f"the model takes {demand.memory / MB:,.4g} MB of memory, and {part.label} has "
            f"{memory / MB:,.4g} MB"
        )
    if part.start_limit is not None and demand.start > part.start_limit:
        yield (
            f"an instance takes {demand.start:.4g} s to start, and {part.kind} gives it "
            f"{part.start_limit:g} s"
        )
