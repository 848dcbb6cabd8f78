"""Traces to test with, of any content."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.traffic.trace import Trace


@st.composite
def traces(draw):
    times = np.sort(draw(hnp.arrays(float, st.integers(1, 20), elements=st.floats(0, 100))))
    carried = {
        name: draw(hnp.arrays(np.int64, len(times), elements=st.integers(least, 1000)))
        for name, least in (("rows", 1), ("bytes", 0), ("sample", 0))
    }
    kinds = st.sampled_from(["", "clean", "NA", ' "so", so '])
    context = draw(st.none() | st.lists(kinds, min_size=len(times), max_size=len(times)))
    longer = draw(st.floats(0, 10))
    duration = max(float(times[-1]) + longer, 1e-3)
    return Trace(times, duration, **carried, context=context, name=draw(st.text()))


def requests(trace):
    """What each request is: its arrival, rows, bytes, sample and context."""
    columns = trace.arrivals, trace.rows, trace.bytes, trace.sample
    context = [""] * len(trace) if trace.context is None else trace.context.tolist()
    return list(zip(*(column.tolist() for column in columns), context, strict=True))
