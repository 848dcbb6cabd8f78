from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.traffic.trace import Trace

PLAIN = Trace([0.0, 1.0], 2.0)


class Pool(SimpleNamespace):
    def __len__(self):
        return len(self.context)


POOL = Pool(context=np.array(["clean", "noisy", "clean", "shifted", ""]))


def test_a_trace_without_context_has_the_hash_it_always_had():
    before = "f167ba2cb54fe23dcbccc29d6f63d56755009f3a43aa0ee7f5fe4b7abf47bb74"

    assert PLAIN.digest == Trace([0.0, 1.0], 2.0, context=["", ""]).digest == before


def test_the_digest_tells_contexts_apart():
    digests = {
        Trace([0.0, 1.0], 2.0, context=each).digest for each in ("a", ["a", "b"], ["b", "a"])
    }

    assert len({PLAIN.digest, *digests}) == 4


def test_contexts_stay_with_their_requests():
    trace = Trace([0.0, 1.0, 2.0], 3.0, context=["a", "b", "c"])

    assert trace.clip(1).context.tolist() == ["b", "c"]
    assert trace.scale(2).context.tolist() == ["a", "b", "c"]
    assert (PLAIN + trace.clip(1).scale(2)).context.tolist() == ["", "b", "c", ""]
    kept = trace.thin(0.5, seed=1)
    assert kept.context.tolist() == [trace.context[int(at)] for at in kept.arrivals]
    with pytest.raises(ValueError, match="read-only"):
        trace.context[0] = "d"


@pytest.mark.parametrize("context", [[1, 2], ["a"], [["a", "b"]], [None, "a"]])
def test_what_is_no_context_is_refused(context):
    with refused(InvalidInput, "context"):
        Trace([0.0, 1.0], 2.0, context=context)


def test_samples_are_drawn_in_the_mix_that_is_wanted():
    trace = Trace(np.arange(4000.0), 4000.0)

    drawn = trace.draw_samples(POOL, mix={"clean": 0.6, "shifted": 0.3, "noisy": 0.1}, seed=1)

    assert (POOL.context[drawn.sample] == drawn.context).all()
    counts = [(drawn.context == kind).sum() for kind in ("clean", "shifted", "noisy")]
    assert stats.chisquare(counts, [2400, 1200, 400]).pvalue > 0.001
    first, third = ((drawn.sample == row).sum() for row in (0, 2))
    assert stats.binomtest(int(first), int(first + third)).pvalue > 0.001
    again = trace.draw_samples(POOL, mix={"clean": 0.6, "shifted": 0.3, "noisy": 0.1}, seed=1)
    assert again == drawn


def test_without_a_mix_every_row_is_as_likely_as_any_other():
    drawn = Trace(np.arange(5000.0), 5000.0).draw_samples(POOL, seed=2)

    assert stats.chisquare(np.bincount(drawn.sample)).pvalue > 0.001
    assert (POOL.context[drawn.sample] == drawn.context).all()


@pytest.mark.parametrize(
    ("mix", "named"),
    [
        ({"clean": 0.5}, ["mix", 0.5]),
        ({"clean": 0.5, "dark": 0.5}, ["dark", "clean, noisy, shifted"]),
        ({"clean": 1.5, "noisy": -0.5}, ["clean", 1.5]),
        ({"clean": "all"}, ["clean", "all"]),
        ([0.5, 0.5], ["mix", "[0.5, 0.5]"]),
        ({}, ["mix", 0]),
    ],
)
def test_a_mix_that_does_not_fit_the_pool_is_refused(mix, named):
    with refused(InvalidInput, *named):
        PLAIN.draw_samples(POOL, mix=mix, seed=1)
