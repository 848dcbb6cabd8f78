"""Traffic: arrival processes with their settings, ready-made ones, files, and a look at them."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np

from workbench.errors import InvalidInput
from workbench.formatting import duration, figure
from workbench.traffic.patterns import bursty, constant, diurnal, flash_crowd, poisson
from workbench.traffic.replay import READERS
from workbench.traffic.trace import Trace
from workbench.widgets.form import choice, integer, number, text
from workbench.widgets.pickers import Picker

MAX_REQUESTS = 1_000_000
"""What a picker draws at once, in about half a second; longer traces are made in code."""

FILE = "file"


def read_traffic(path: str, column: str = "") -> Trace:
    """Return the trace in a CSV, JSON Lines or Parquet file, by the ending of its name.

    Raises:
        NotFound: There is no such file.
        InvalidInput: No path is given, the ending is another, or the file does not hold a trace.
    """
    return _reader_of(path)(path, column or None)


def _reader_of(path: str) -> Callable[..., Trace]:
    ending = Path(path).suffix.lower()
    if ending not in READERS:
        raise InvalidInput(
            f"path must name a file that ends in .csv, .jsonl or .parquet, got {path!r}."
        )
    return READERS[ending]


_KINDS: dict[str, tuple[str, Callable[..., Trace], tuple[str, ...]]] = {
    "bursty": ("Bursts", bursty, ("rate", "burst", "low_stay", "high_stay", "duration", "seed")),
    "poisson": ("Random (Poisson)", poisson, ("rate", "duration", "seed")),
    "constant": ("Evenly spaced", constant, ("rate", "duration")),
    "diurnal": ("Day and night", diurnal, ("rate", "swing", "period", "duration", "seed")),
    "flash_crowd": (
        "Flash crowd",
        flash_crowd,
        ("rate", "peak", "start", "ramp", "hold", "decay", "duration", "seed"),
    ),
    FILE: ("From a file", read_traffic, ("path", "column")),
}
"""By kind: its name in the list, what makes the trace, and the controls of its settings."""

# ten seconds, with bursts, waves and a crowd in them: what is run takes as long
_DEFAULTS = {
    "rate": 300.0,
    "burst": 6.0,
    "low_stay": 4.0,
    "high_stay": 1.0,
    "swing": 0.9,
    "period": 60.0,
    "peak": 5.0,
    "start": 3.0,
    "ramp": 1.0,
    "hold": 3.0,
    "decay": 1.0,
    "duration": 10.0,
    "seed": 1,
}
_FIELDS = {
    "rate": ("Rate (1/s)", "Requests a second, on average; of a flash crowd, without the crowd."),
    "burst": ("Burst (high/low)", "How many times as high the rate is in a burst."),
    "low_stay": ("Between bursts (s)", "Seconds from one burst to the next, on average."),
    "high_stay": ("In a burst (s)", "Seconds that a burst lasts, on average."),
    "swing": ("Swing (0 to 1)", "0 is no wave; at 1 nothing comes at the lowest point."),
    "period": ("Period (s)", "Seconds from one peak to the next."),
    "peak": ("Peak (times rate)", "The highest rate, as a multiple of the usual one."),
    "start": ("Starts at (s)", "When the crowd comes."),
    "ramp": ("Grows for (s)", "Seconds until all are there; 0 is a jump."),
    "hold": ("Stays for (s)", "Seconds at the highest rate."),
    "decay": ("Fades in (s)", "Seconds until about a third of the crowd is left."),
    "duration": ("Duration (s)", "How long the traffic lasts, and so a run."),
}

PRESETS: dict[str, tuple[str, dict[str, float]]] = {
    "Bursts, 300 a second": ("bursty", {}),
    "Calm, 100 a second": ("poisson", {"rate": 100.0, "duration": 20.0}),
    "Hard bursts": ("bursty", {"rate": 200.0, "burst": 20.0, "duration": 20.0}),
    "A day in a minute": ("diurnal", {"rate": 200.0, "duration": 60.0}),
    "Flash crowd": ("flash_crowd", {"rate": 60.0}),
    "Rare, a call every 5 minutes": ("poisson", {"rate": 1 / 300, "duration": 86_400.0}),
}
"""Traffic by name: a kind, and what it sets otherwise than the picker begins with."""


def draw_traffic(kind: str = "bursty", **settings: float) -> Trace:
    """Return the trace that a `TrafficPicker` of these settings holds.

    Args:
        kind: "bursty", "poisson", "constant", "diurnal" or "flash_crowd".
        settings: rate (300 a second), burst (6), duration (10 s), seed (1), ..., as the arrival
            process takes them, its two stays as low_stay and high_stay; those it does not take
            are left aside.

    Raises:
        InvalidInput: A setting is out of range, or the trace too long to be drawn at once.

    >>> draw_traffic("constant", rate=4, duration=1)
    <Trace constant(rate=4, duration=1): 4 requests in 1 s, 4 per second>
    """
    _, make, names = _KINDS[kind]
    settings = _DEFAULTS | settings
    expected = settings["rate"] * settings["duration"]
    if expected > MAX_REQUESTS:
        many = f"{expected:,.0f}" if expected < 1e15 else f"{expected:.3g}"
        raise InvalidInput(
            f"This would be {many} requests, and at most {MAX_REQUESTS:,} are "
            "drawn here: lower rate or duration, or make the trace in code."
        )
    given: dict[str, Any] = {name: settings[name] for name in names}
    if "low_stay" in given:
        given["dwell"] = (given.pop("low_stay"), given.pop("high_stay"))
    return make(**given)


class TrafficPicker(Picker):
    """An arrival process and its settings, or a file; `value` is the `Trace` it makes.

    Under the controls the requests a second are drawn over time. `code` is the line that makes
    the trace.

    Args:
        kind: "bursty", "poisson", "constant", "diurnal", "flash_crowd" or "file".
        settings: As for `draw_traffic`.
    """

    def __init__(self, kind: str = "bursty", **settings: float) -> None:
        settings = _DEFAULTS | settings
        self.preset = choice(
            "Preset",
            [("Own settings", ""), *((each, each) for each in PRESETS)],
            "",
            "Traffic that is ready-made: it fills the other fields.",
        )
        self.preview = ipywidgets.HTML()
        numbers = {
            name: number(label, settings[name], about) for name, (label, about) in _FIELDS.items()
        }
        for each in numbers.values():
            each.continuous_update = False  # a long trace takes a while to draw
        controls = {
            "kind": choice(
                "Traffic",
                [(name, each) for each, (name, *_) in _KINDS.items()],
                kind,
                "How requests arrive: evenly, at random, in bursts, as a file says.",
            ),
            "path": text(
                "File",
                "",
                "arrivals.csv, .jsonl or .parquet",
                "A file with the times at which requests arrived.",
            ),
            "column": text(
                "Column of times", "", "found by itself", "The column that holds the times."
            ),
            **numbers,
            "seed": integer(
                "Seed", settings["seed"], "Of the draw: the same seed, the same traffic."
            ),
        }
        super().__init__("Traffic", {"preset": self.preset, **controls}, self.preview)
        self.preset.unobserve(self._read, "value")
        self.preset.observe(lambda change: self._apply_preset(change["new"]), "value")

    def set(self, kind: str, **settings: float) -> None:
        """Have the controls hold a kind and settings, the rest as they begin."""
        self._paused = True
        self["kind"].value = kind
        for name, value in (_DEFAULTS | settings).items():
            self[name].value = round(value, 9)
        self._paused = False
        self._read()

    @property
    def code(self) -> str:
        """The line that makes the trace, without the name of the package."""
        if self["kind"].value != FILE:
            return str(self.value.name)
        path, column = self["path"].value, self["column"].value
        return f"{_reader_of(path).__name__}({path!r}{f', {column!r}' if column else ''})"

    def _apply_preset(self, preset: str) -> None:
        if preset:
            kind, settings = PRESETS[preset]
            self.set(kind, **settings)

    _paused = False

    def _read(self, change: object = None) -> None:
        if not self._paused:
            super()._read()
            if change:
                self.preset.value = ""

    def _make(self) -> Trace:
        kind = self["kind"].value
        self.form.show(["preset", "kind", *_KINDS[kind][2]])
        self.preview.value = ""
        if kind == FILE:
            trace = read_traffic(self["path"].value, self["column"].value)
        else:
            trace = draw_traffic(kind, **{name: self[name].value for name in _DEFAULTS})
        self.preview.value = sketch(trace)
        return trace

    def _show_error(self, error: str) -> str:
        if error and self["kind"].value == FILE:
            return self.form.refuse(error, "path")
        return self.form.refuse(error, "low_stay" if error.startswith("dwell") else "")

    def _describe(self, value: Trace) -> str:
        words = f"{len(value):,} requests in {duration(value.duration)}"
        asked = self.form.values.get("rate", value.rate)
        more = f", {figure(asked)} in the long run" if abs(value.rate - asked) > 0.1 * asked else ""
        return f"{words}, {figure(value.rate, 4)} per second{more}"


_WINDOWS = 120  # of a trace: two pixels each
_WIDTH, _HEIGHT = 240, 56  # pixels


def sketch(trace: Trace) -> str:
    """Return a small drawing of the requests a second over time, as HTML that needs no script.

    >>> "300 a second at most" in sketch(constant(rate=300, duration=2))
    True
    """
    window = trace.duration / _WINDOWS
    rates = trace.counts(window) / window
    top = float(rates.max(initial=0.0))
    steps = np.repeat(rates, 2) / (top or 1.0)
    edges = np.repeat(np.arange(len(rates) + 1), 2)[1:-1] * _WIDTH / len(rates)
    points = " ".join(f"{x:.1f},{_HEIGHT * (1 - y):.1f}" for x, y in zip(edges, steps, strict=True))
    words = f"Requests over {duration(trace.duration)}: {figure(top)} a second at most"
    return (
        f'<svg class="wb-sketch" role="img" aria-label="{html.escape(words)}" '
        f'viewBox="0 -1 {_WIDTH} {_HEIGHT + 2}" preserveAspectRatio="none">'
        f'<polygon points="0,{_HEIGHT} {points} {_WIDTH},{_HEIGHT}"/></svg>'
        f'<div class="wb-caption">{html.escape(words)}, counted by {duration(window)}</div>'
    )
