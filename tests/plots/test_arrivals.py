"""Traffic over time: its numbers, and the figure drawn from them."""

import numpy as np
import pytest

from tests.refused import refused
from workbench import plots
from workbench.errors import InvalidInput
from workbench.traffic.patterns import bursty, constant


def test_the_rates_add_up_to_the_requests():
    trace = bursty(rate=300, burst=6, duration=12, seed=1)
    data = plots.arrival_rates(trace)

    spans = data["stop"].to_numpy() - data["start"].to_numpy()
    assert data.height == 120
    assert (data["rate"].to_numpy() * spans).sum() == pytest.approx(len(trace))


def test_traces_share_their_windows_and_have_names_of_their_own():
    long, short = constant(rate=2, duration=10), constant(rate=4, duration=5)
    data = plots.arrival_rates([long, short, short], window=1)

    counts = data.group_by("run", maintain_order=True).len().rows()
    assert counts == [(long.name, 10), (short.name, 5), (f"{short.name} #2", 5)]
    assert np.unique(data.filter(run=short.name)["rate"]).tolist() == [4.0]


def test_a_window_longer_than_the_trace_is_refused():
    with refused(InvalidInput, "window", "5 s", 6):
        plots.arrival_rates(constant(rate=2, duration=5), window=6)


def test_nothing_to_show_is_refused():
    with refused(InvalidInput, "trace"):
        plots.arrival_rates([])


def test_the_chart_says_where_the_capacity_is():
    trace = constant(rate=2, duration=10)

    plain = plots.plot_arrival_rates(trace)
    figure = plots.plot_arrival_rates(trace, capacity=50)

    assert len(figure.spec()["layer"]) == len(plain.spec()["layer"]) + 1
    assert figure.subtitle[-1] == "Dashed: 50 a second, the capacity."
    assert "2 requests a second on average" in figure.description
    assert figure.svg().startswith("<svg")
