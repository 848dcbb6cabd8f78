"""Latency, batch sizes and busy servers from formulas, where formulas exist.

- `predict_buffer`: the (max_size, max_wait) buffer under any Markovian arrival process, exactly.
- `screen`: the same for a whole grid of sizes, waits and service times at once.
- `batch_as_published`: what BATCH's own formulas say of the same buffer, to compare with.
- `mm1`, `mmc`, `md1`, `mg1`: shared queues without batching.
- `mg1_mean_wait`, `erlang_b`, `erlang_c`: single figures of such queues.

Each states its assumptions, and refuses a load that no queue survives::

    fitted = fit(trace, window=0.025)
    found = predict_buffer(fitted.map, max_size=8, max_wait=0.025, service=[0.010, 0.014, ...])
    found.quantile(0.95), found.attainment(slo), found.mean_batch_size
"""

from workbench.contents import resolve_late

__getattr__, __dir__, __all__ = resolve_late(
    __name__,
    {
        "batch_formulas": ["batch_as_published", "percentile_size"],
        "buffers": ["predict_buffer"],
        "general": ["mg1"],
        "grid": ["Screen", "screen"],
        "predictions": ["Distribution", "Prediction", "ServiceDistribution"],
        "queues": [
            "erlang_b",
            "erlang_c",
            "md1",
            "md1_wait_cdf",
            "mg1_mean_wait",
            "mm1",
            "mmc",
            "mmc_wait_cdf",
        ],
    },
)
