import json
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from tests.refused import refused
from workbench.cloud.cost_guard import check_payload
from workbench.deployment import KINDS, Deployment, Lambda, Local, RealTime
from workbench.deployment.composite import Composite, as_deployments
from workbench.errors import InvalidInput
from workbench.pricing.cost import total
from workbench.pricing.usage import CallTimes, Usage
from workbench.settings import setting

BASE = RealTime(instance_type="ml.m5.large", count=2)
BURST = Lambda(memory_mb=1024, max_concurrency=10, timeout=30)


@dataclass(frozen=True, kw_only=True)
class Pair(Composite):
    """Two parts, for tests."""

    kind: ClassVar[str] = "pair"

    parts: tuple[Deployment, ...] = field(metadata=setting("Parts", "both", as_deployments))

    @property
    def platform(self):
        return self.parts[0].platform

    @classmethod
    def example(cls):
        return cls(parts=(BASE, BURST))


class Activity:
    """The second part got three calls, a second long each; the first got seven."""

    end = 60.0
    calls = 7
    instances = None
    serving = ()

    def part(self, number):  # noqa: ARG002 - as in Activity
        return self

    def call_times(self, *, with_cold_starts, provisioned):  # noqa: ARG002 - likewise
        return CallTimes(3.0, 0.0, 3, ("Each call a second.",))


PAIR = Pair.example()


def test_a_whole_costs_what_its_parts_cost():
    usage = PAIR.usage(Activity())
    mine = BASE.bill(BASE.usage(Activity())), BURST.bill(BURST.usage(Activity()))

    assert [part.calls for part in usage.parts] == [7, 3]
    assert total(PAIR.bill(usage)) == pytest.approx(total(mine[0]) + total(mine[1]))
    assert "Each call a second." in usage.notes


def test_standing_and_the_most_are_sums_too():
    hour = PAIR.bill(PAIR.idle_usage(3600))
    most = PAIR.usage_at_most(60, calls=None, up_and_down=600)

    assert total(hour) == pytest.approx(2 * 0.115)
    assert most.parts == (
        BASE.usage_at_most(60, calls=None, up_and_down=600),
        BURST.usage_at_most(60, calls=None, up_and_down=600),
    )


def test_bytes_of_the_whole_go_with_the_calls():
    usage = Usage(parts=(Usage(calls=3), Usage(calls=1)), bytes_in=4 * 1024**3)

    items = {item.what: item.quantity for item in PAIR.bill(usage)}

    assert items["endpoint data in"] == pytest.approx(3)


def test_limits_are_the_least_of_the_parts():
    assert PAIR.payload_limit == min(BASE.payload_limit, BURST.payload_limit)
    assert PAIR.time_limit == 60
    assert PAIR.call_limit == 30
    assert Pair(parts=(BASE, Local())).payload_limit == BASE.payload_limit


def test_a_request_must_fit_every_part_on_its_own_wire():
    check_payload(BASE, 6_000_000)
    with refused(InvalidInput, "8,000,081", "lambda", "6,291,456"):
        check_payload(PAIR, 6_000_000)  # in base64 it is a third longer


def test_a_cloud_is_needed_where_a_part_needs_one():
    assert PAIR.needs == BASE.needs
    assert Pair(parts=(Local(), Local(workers=2))).needs == ""


def test_parts_of_parts_are_found():
    assert Pair(parts=(PAIR, Local())).simple_parts == (BASE, BURST, Local())
    assert BASE.simple_parts == (BASE,)


def test_a_composite_survives_json(monkeypatch):
    monkeypatch.setitem(KINDS, "pair", Pair)
    data = json.loads(json.dumps(PAIR.to_dict()))

    assert data["parts"][0]["kind"] == "real-time"
    assert Deployment.from_dict(data) == PAIR


@pytest.mark.parametrize("parts", [(), (BASE, "lambda"), None])
def test_no_deployments_are_refused(parts):
    with refused(InvalidInput, "parts"):
        Pair(parts=parts)


def test_the_usage_of_one_part_is_no_usage_of_the_whole():
    with refused(InvalidInput, "2 parts", "Usage(parts=...)"):
        PAIR.bill(Usage(seconds=1))
