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
    longer = draw(st.floats(0, 10))
    return Trace(times, max(float(times[-1]) + longer, 1e-3), **carried, name=draw(st.text()))


def requests(trace):
    return list(trace.frame.iter_rows())
