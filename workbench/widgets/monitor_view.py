"""What a cloud tells of an endpoint, on a press: its figures, alarms and last lines."""

import contextlib
import html
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import ipywidgets
import traitlets

from workbench.cloud import monitor
from workbench.cloud.aws import Cloud, aws
from workbench.cloud.client import is_missing
from workbench.cloud.deploy import DeployedModel
from workbench.errors import CloudError, InvalidInput
from workbench.formatting import Table
from workbench.plots.figure import Figure
from workbench.plots.latency import plot_latency_over_time
from workbench.plots.monitor import plot_metrics
from workbench.run import Run
from workbench.widgets.chart_view import ChartView, chart_grid
from workbench.widgets.form import Form, button, text
from workbench.widgets.notebook import Keyboard, Status, describe_failure, run_in_background
from workbench.widgets.saved_output import SavedOutput
from workbench.widgets.tables import frame_table

if TYPE_CHECKING:
    import polars as pl

_MAX_LOG_LINES = 30  # of the log that are shown


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Observation:
    """What a cloud reports of an endpoint, as the frames of `workbench.cloud.monitor`.

    `logs` has no rows where nothing was ever written; `notes` say what could not be read, and why.
    """

    endpoint: str
    metrics: "pl.DataFrame"
    alarms: "pl.DataFrame"
    logs: "pl.DataFrame"
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Observation {self.label}>"

    @property
    def label(self) -> str:
        """What there is, in a few words."""
        import polars as pl

        calls = self.metrics.filter(metric="Invocations", statistic="Sum")["value"].sum()
        off = self.alarms.filter(pl.col("state") == "ALARM").height
        alarms = f"{off} of {self.alarms.height} alarms went off" if self.alarms.height else ""
        lines = f"{self.logs.height} {'line' if self.logs.height == 1 else 'lines'} of log"
        counted = f"{calls:,.0f} {'call' if calls == 1 else 'calls'} in the last hour"
        return f"{self.endpoint}: {', '.join(filter(None, (counted, alarms, lines)))}"


def observe(endpoint: str | DeployedModel, cloud: Cloud) -> Observation:
    """Return what a cloud tells of an endpoint now: the last hour, and the last lines.

    Of an endpoint that was deleted it tells what is left.

    Raises:
        CloudError: There is no such endpoint, or the cloud refused.
    """
    name = endpoint.name if isinstance(endpoint, DeployedModel) else endpoint
    import polars as pl

    metrics, notes = monitor.metrics(name, cloud), []
    try:
        _check_endpoint(name, cloud)
    except CloudError as error:
        if not is_missing(error) or metrics.is_empty():
            raise
        notes.append("The endpoint is gone: this is what is left of it.")
    alarms = monitor.alarms(name, cloud)
    try:
        logs = monitor.logs(name, cloud)
    except CloudError as error:  # an endpoint that never wrote has no log group
        logs = pl.DataFrame(
            schema={"time": pl.Datetime("us", "UTC"), "stream": pl.String, "message": pl.String}
        )
        notes.append(str(error))
    return Observation(endpoint=name, metrics=metrics, alarms=alarms, logs=logs, notes=tuple(notes))


def _check_endpoint(name: str, cloud: Cloud) -> None:
    with (
        contextlib.closing(cloud.client("sagemaker")) as client,
        cloud.translate_errors(f"find endpoint {name}"),
    ):
        client.describe_endpoint(EndpointName=name)


class MonitorView(SavedOutput, ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Figures, alarms and log of an endpoint; `value` is the latest `Observation`.

    They are read when Refresh is pressed, in a thread of its own: a cloud may take its time.
    `error` says why there is nothing new, "" when there is. A saved notebook still shows them
    without a kernel.

    Args:
        cloud: Where the endpoint is, or what returns it when it is asked; by default AWS, or
            wherever $AWS_ENDPOINT_URL points.
        endpoint: Its name, or what `workbench.deploy` returned.
    """

    value = traitlets.Any(None, allow_none=True, read_only=True)
    error = traitlets.Unicode("", read_only=True)

    def __init__(
        self, cloud: Cloud | Callable[[], Cloud] = aws, endpoint: str | DeployedModel = ""
    ) -> None:
        self._cloud = cloud
        self._deployed: DeployedModel | None = None
        self._finished = threading.Event()
        self._finished.set()
        name = endpoint.name if isinstance(endpoint, DeployedModel) else endpoint
        about = "Which endpoint is read of."
        named = text("Endpoint", name, "name of a deployed endpoint", about)
        self.form = Form({"endpoint": named})
        self.refresh_button = button("Refresh", "Read what the endpoint reports now.", "primary")
        self.refresh_button.on_click(lambda _: self.refresh())
        self.status = Status()
        self.chart, self.seconds = ChartView(keeps=True), ChartView(keeps=True)
        self.tables = ipywidgets.HTML()
        for each in (self.chart, self.seconds):
            each.observe(lambda _: self._save_view(), "picture")
        shown = [chart_grid([self.seconds, self.chart]), self.tables]
        super().__init__([self.form, self.refresh_button, self.status, *shown, Keyboard()])
        self.add_class("wb")
        self.add_class("wb-results")
        self.status.say(
            "Name an endpoint and press Refresh; functions and batch transform jobs have none."
        )

    def __getitem__(self, name: str) -> ipywidgets.Text:
        return self.form[name]

    def offer(self, deployed: DeployedModel) -> None:
        """Name what was deployed, which is read of on the cloud where it is."""
        self._deployed = deployed
        self["endpoint"].value = deployed.name
        self.status.say(f"Press Refresh to read what {deployed.cloud.name} has measured.")

    def show_run(self, run: Run) -> None:
        """Show a run's own latencies, second by second, beside the cloud's, minute by minute."""
        drawn = plot_latency_over_time(run)
        self.seconds.figure = replace(drawn, title="What the client of the latest run saw")

    def refresh(self) -> None:
        """Begin to read again, unless that goes on already."""
        name = self["endpoint"].value.strip()
        if said := self.form.refuse("" if name else "endpoint must be a name, got nothing."):
            self.set_trait("error", said)
            return
        if not self._finished.is_set():
            return
        self.status.say(f"Reading what there is of {name}.")
        self._finished.clear()
        run_in_background(self._read, name)

    def wait(self, timeout: float | None = None) -> Observation | None:
        """Return `value` when the reading has ended, or after `timeout` seconds."""
        self._finished.wait(timeout)
        observation: Observation | None = self.value
        return observation

    def _cloud_of(self, name: str) -> Cloud:
        if self._deployed is not None and self._deployed.name == name:
            return self._deployed.cloud
        return self._cloud() if callable(self._cloud) else self._cloud

    def _save_view(self) -> None:
        """Leave what was read in the notebook, and the charts once the page has drawn them."""
        if (observation := self.value) is None:
            return
        images = f"{self.seconds.image}{self.chart.image}"
        self.keep(f"<p>{html.escape(observation.label)}.</p>{images}{self.tables.value}")

    def _read(self, name: str) -> None:
        try:
            observation = observe(name, self._cloud_of(name))
            self.chart.figure = _draw(observation)
            self.tables.value = observation_tables(observation)
            self.set_trait("value", observation)
            self._save_view()
            words, error = " ".join([f"{observation.label}.", *observation.notes]), ""
        except Exception as failure:  # noqa: BLE001 - whatever failed has to be said, not lost
            words = error = describe_failure(failure)
        self.set_trait("error", error)
        self.status.say(words, wrong=bool(error))
        self._finished.set()


def _draw(observation: Observation) -> Figure | None:
    try:
        return plot_metrics(observation.metrics)
    except InvalidInput:
        return None


_NO_METRICS = "<p>No metrics yet: CloudWatch has them some minutes after the first call.</p>"


def observation_tables(observation: Observation) -> str:
    """Return alarms and the last lines of the log as HTML, the latest first."""
    alarms = [
        [name, state, about, _moment(time), reason]
        for time, name, state, about, reason in observation.alarms.iter_rows()
    ]
    lines = [
        [_moment(time), stream, message]
        for time, stream, message in observation.logs.tail(_MAX_LOG_LINES).reverse().iter_rows()
    ]
    shown = "<p>No alarms: workbench.cloud.monitor.put_alarm makes one.</p>"
    if observation.metrics.is_empty():
        shown = f"{_NO_METRICS}{shown}"
    if alarms:
        shown = frame_table(Table(["alarm", "state", "about", "since", "why"], alarms, "Alarms"))
    if lines:
        return shown + frame_table(Table(["when (UTC)", "stream", "line"], lines, "Log"))
    return f"{shown}<p>Nothing was logged.</p>"


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"
