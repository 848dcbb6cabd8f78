"""What an adapter does: it makes deployments of one inference type on a cloud, and deletes them.

A `LiveAdapter` makes something that answers calls; a type that has jobs has a bare `Adapter`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from workbench.backends.base import Backend
from workbench.cloud.adapters.quotas import check_instances
from workbench.cloud.aws import Cloud, image_of
from workbench.cloud.client import CloudClient
from workbench.cloud.ledger import LedgerEntry
from workbench.deployment.base import Deployment
from workbench.errors import InvalidInput
from workbench.registry.model import Model

if TYPE_CHECKING:
    from workbench.backends.asynchronous import Mailbox

D = TypeVar("D", bound=Deployment)


class WatchedMetric(NamedTuple):
    """A metric that autoscaling watches.

    Attributes:
        name: In CloudWatch.
        statistic: Of a period.
        tracked: What target tracking calls it; "" where it is one of our choice.
        of_variant: Whether it is a variant's; else the endpoint's as a whole.
        period: Seconds of a value.
    """

    name: str
    statistic: str
    tracked: str = ""
    of_variant: bool = True
    period: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Creation(Generic[D]):
    """What is to be made of a ledger's entry: a model, deployed.

    `image` is "" where none is needed, `libraries` a folder for a zip, if any, and `weight` the
    share of requests that it gets as one of several variants; of all the share `capture` is kept.
    """

    aws: CloudClient
    entry: LedgerEntry
    model: Model
    deployment: D
    role: str
    image: str
    libraries: str | Path | None
    weight: float = 1.0
    capture: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CallTarget(Generic[D]):
    """What is to be called, by up to `concurrency` calls at once.

    `variant` is that of an endpoint; of one that chooses among several, `variants` are all.
    """

    name: str
    cloud: Cloud
    deployment: D
    mailbox: Mailbox | None
    concurrency: int
    variant: str = ""
    variants: tuple[str, ...] = ()


class Adapter(ABC, Generic[D]):
    """What a cloud does for one inference type.

    Attributes:
        ledger_kind: What the ledger calls its entries.
        metrics: What autoscaling can watch, by the name in `workbench.scaling`.
        quota: What Service Quotas calls the use of its instances; "" where it has none of its own.
    """

    ledger_kind: ClassVar[str]
    metrics: ClassVar[Mapping[str, WatchedMetric]] = {}
    quota: ClassVar[str] = ""

    def check_quota(self, deployment: D, cloud: Cloud) -> None:
        """Raise `CloudError` where AWS says that a quota of the account is too small."""
        if self.quota:
            check_instances(cloud, deployment, self.quota)

    @abstractmethod
    def delete(self, aws: CloudClient, entry: LedgerEntry) -> None:
        """Delete all of an entry that there is, but for its folder in the bucket."""


class LiveAdapter(Adapter[D]):
    """What a cloud does for an inference type that answers calls.

    Attributes:
        in_flight: Calls that a client should have in flight where instances set no limit.
        is_endpoint: Whether it is an endpoint, with an endpoint's metrics.
        captures: Whether it can keep what it is asked (SageMaker's data capture).
        most_variants: Models that can share one endpoint, each as a production variant of its own.
    """

    most_variants: ClassVar[int] = 1
    in_flight: ClassVar[int] = 64
    is_endpoint: ClassVar[bool] = True
    captures: ClassVar[bool] = False

    def check(self, deployment: D) -> None:
        """Raise `InvalidInput` where AWS has no such deployment."""

    def image(self, cloud: Cloud, libraries: str | Path | None) -> str:  # noqa: ARG002 - of others
        """Return the URI of the image it is made from; "" where it takes none."""
        return image_of(cloud)

    @abstractmethod
    def prepare(self, creation: Creation[D]) -> Mailbox | None:
        """Make what has to be there before; return where answers arrive that come later."""

    @abstractmethod
    def create(self, creation: Creation[D], mailbox: Mailbox | None) -> str:
        """Make it, wait until it answers, and return the name it is called by."""

    @abstractmethod
    def backend(self, target: CallTarget[D]) -> Backend:
        """Return what calls it."""


ADAPTERS: dict[str, Adapter[Any]] = {}
"""Adapters by the kind of the deployment, filled by the package's table."""


def adapter_of(deployment: Deployment) -> LiveAdapter[Any]:
    """Return what makes a deployment that answers calls; raise `InvalidInput` for others."""
    adapter = ADAPTERS.get(deployment.kind)
    if not isinstance(adapter, LiveAdapter):
        live = [kind for kind, each in ADAPTERS.items() if isinstance(each, LiveAdapter)]
        raise InvalidInput(f"{deployment.label} cannot be deployed: {', '.join(live)} can.")
    return adapter
