"""Servers of one's own: bought, powered and kept up, whether they are busy or not."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from workbench.deployment.base import Deployment
from workbench.deployment.platforms import FleetPlatform
from workbench.pricing.cost import CostItem, Items
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Activity, Usage
from workbench.settings import amount, one_of, optional, positive_amount, setting, whole
from workbench.units import HOUR

YEAR_HOURS = 8760.0
"""Hours of a year of 365 days, over which purchase and upkeep are spread evenly."""


@dataclass(frozen=True, kw_only=True)
class OnPremise(Deployment):
    """Servers of one's own, always on: `servers` of them, each with `workers` model servers.

    Each counts as a machine like the one that was profiled. An hour of one costs, busy or not::

        purchase   purchase_price / (lifetime_years * 8760)   straight-line, nothing left at the end
        energy     power_watts / 1000 * kwh_price             the mean draw, cooling included
        upkeep     upkeep_per_year / 8760                     rent of the rack, repairs, people

    All prices are your own, in US dollars. `routing` is as for `RealTime`. A run measures this
    machine as one of the servers, with its share of the requests.

    Raises:
        InvalidInput: A count is below 1, the lifetime not above 0, or an amount negative.

    >>> OnPremise(servers=2, workers=4, purchase_price=4380, lifetime_years=5).label
    'on-premise 2 servers x 4 workers'
    """

    kind: ClassVar[str] = "on-premise"
    takes_overflow: ClassVar[bool] = True
    needs: ClassVar[str] = ""
    counted_by: ClassVar[str] = "servers"

    servers: int = optional(1, "Servers", "how many servers", whole(1), steps=range(1, 41))
    workers: int = optional(1, "Workers", "model servers of each server", whole(1, 1024))
    routing: str = optional(
        "least_outstanding",
        "Routing",
        "which server gets a request: least_outstanding, random or shared",
        one_of("least_outstanding", "random", "shared"),
    )
    purchase_price: float = field(
        metadata=setting("Purchase (USD)", "US dollars to buy a server", amount("US dollars"))
    )
    lifetime_years: float = field(
        metadata=setting("Lifetime (years)", "years a server is used", positive_amount("years"))
    )
    power_watts: float = optional(
        0.0, "Power (W)", "watts a server draws on average", amount("watts")
    )
    kwh_price: float = optional(
        0.0, "Energy (USD/kWh)", "US dollars a kilowatt-hour", amount("US dollars")
    )
    upkeep_per_year: float = optional(
        0.0, "Upkeep (USD/year)", "US dollars a year to keep a server up", amount("US dollars")
    )

    @property
    def label(self) -> str:
        """The deployment in a few words, for charts and tables."""
        servers = f"{self.kind} {self.servers} server{'s' * (self.servers > 1)}"
        return servers + (f" x {self.workers} workers" if self.workers > 1 else "")

    @property
    def platform(self) -> FleetPlatform:
        """Its servers, each with a queue of its own unless routing is "shared"."""
        return FleetPlatform(instances=self.servers, workers=self.workers, routing=self.routing)

    @classmethod
    def example(cls) -> "OnPremise":
        """Return what a form begins with; the prices are an example and no source's."""
        return cls(
            purchase_price=4000,
            lifetime_years=4,
            power_watts=250,
            kwh_price=0.2,
            upkeep_per_year=400,
        )

    @property
    def instance_workers(self) -> int:
        """The model servers of one server."""
        return self.workers

    def part_here(self) -> tuple["OnPremise", int]:
        """Return one of the servers, and how many there are."""
        return replace(self, servers=1), self.servers

    def _bill(self, usage: Usage, prices: PriceSheet) -> Items:
        hours = self.servers * usage.seconds / HOUR
        kwh = self.power_watts / 1000 * hours
        bought = self.purchase_price / (self.lifetime_years * YEAR_HOURS)
        items = (
            CostItem.by_user("purchase", hours, "server-hour", bought),
            CostItem.by_user("energy", kwh, "kWh", self.kwh_price),
            CostItem.by_user("upkeep", hours, "server-hour", self.upkeep_per_year / YEAR_HOURS),
        )
        return tuple(item for item in items if item.quantity and item.unit_price)

    def usage(self, activity: Activity, *, bill_cold_start: bool = False) -> Usage:
        """Return the time that every server is on: to the trace's end, or the last answer."""
        return Usage(seconds=activity.span)

    def idle_usage(self, seconds: float) -> Usage:
        """Return the time itself."""
        return Usage(seconds=seconds)
