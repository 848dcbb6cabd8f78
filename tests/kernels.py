"""Kernels of notebooks in the tests: copies of one process, as those of the app's visitors are.

A kernel of its own takes a second more of a processor, to import what each of ours imports.
Those of JupyterLab, and of `workbench report` in a process of its own, show that it does without.
"""

import contextlib
from dataclasses import dataclass

import pytest

from workbench.errors import NotAvailable
from workbench.widgets.prepared_kernel import Visit, prepare_kernel


@dataclass(frozen=True)
class Notebook(Visit):
    """What most notebooks do."""

    registry: str | None = None
    preset: str | None = None

    def rehearse(self):
        """Simulate, plan and draw a little, and import what measures on a local cloud."""
        import boto3  # noqa: F401

        import workbench as wb
        from workbench import findings, plots
        from workbench.cli import commands, options  # noqa: F401
        from workbench.measuring import fleet_targets, targets  # noqa: F401
        from workbench.report import altair_charts  # noqa: F401
        from workbench.widgets import App

        assert App
        assert wb.LocalCloud
        times, trace = wb.ServiceTimes({1: 0.1}), wb.constant(rate=4, duration=60)
        place, slo = wb.RealTime(instance_type="ml.m5.large"), wb.SLO(latency=1.0)
        run = wb.simulate(trace, wb.BatchPolicy(), place, times, slo=slo)
        repr(findings.compare_cost(wb.compare({"a": run, "b": run})))
        plots.plot_latency_ecdf({"a": run}).spec()


@pytest.fixture(scope="session")
def forked_kernels():
    """Have the kernels that this process starts be copies."""
    from workbench.widgets.forked_kernels import fork_kernels

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(NotAvailable):  # then each imports for itself
            fork_kernels(stack.enter_context(prepare_kernel(Notebook())))
        yield
