"""Labelled controls, each with a line beside it for what is wrong with what it holds."""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from workbench.measuring.profile_quality import MEASURE_AGAIN

Control = Any  # one of ipywidgets, which has no types


def make_control(kind: type[Any], label: str, about: str, **how: Any) -> Control:  # noqa: ANN401 - of the kind
    """Return a control of one of ipywidgets' kinds with a label, by default its help text, too.

    That of texts and lists is shown by ipywidgets nowhere, so the label brings it along.
    """
    about = about or label
    return keep_in_order(
        kind(
            description=f'<span title="{html.escape(about)}">{html.escape(label)}</span>',
            description_allow_html=True,
            tooltip=about,
            style={"description_width": "124px"},  # wide enough for each label of ours
            layout=ipywidgets.Layout(width="auto"),
            **how,
        )
    )


def keep_in_order(control: Control) -> Control:
    """Return a control, with what a page sends to it handled in the order in which it was sent.

    ipykernel 7.4 hands it to the thread that spoke to a control last, not to the one that the page
    names, so that the press of a button overtakes the number typed before it. See findings/.
    """
    if control.comm is not None:  # a kernel is there
        control.comm._reply_subshell_for = lambda _data, asked: asked  # noqa: SLF001 - no other way
    return control


def integer(label: str, value: float, about: str = "") -> ipywidgets.IntText:
    """Return a control for whole numbers that tells of each key; `about` is its help text."""
    return make_control(ipywidgets.IntText, label, about, value=value, continuous_update=True)


def number(label: str, value: float, about: str = "") -> ipywidgets.FloatText:
    """Return a control for numbers that tells of each key."""
    held = {"value": round(value, 9), "continuous_update": True}
    return make_control(ipywidgets.FloatText, label, about, **held)


def text(label: str, value: str = "", placeholder: str = "", about: str = "") -> ipywidgets.Text:
    """Return a control for words that tells when Enter or Tab is pressed."""
    held = {"value": value, "placeholder": placeholder, "continuous_update": False}
    return make_control(ipywidgets.Text, label, about, **held)


def choice(
    label: str,
    options: Sequence[Any] | Sequence[tuple[str, Any]],
    value: object,
    about: str = "",
) -> ipywidgets.Dropdown:
    """Return a list to choose from; options are values, or pairs of a name and a value."""
    return make_control(ipywidgets.Dropdown, label, about, options=options, value=value)


def slider(label: str, about: str, **limits: Any) -> ipywidgets.FloatSlider:  # noqa: ANN401 - of the slider
    """Return a slider; `limits` are its value, least, most and step."""
    return make_control(ipywidgets.FloatSlider, label, about, **limits)


def button(label: str, about: str, style: str = "") -> ipywidgets.Button:
    """Return a button; `style` is "primary" or "warning" where it stands out."""
    return keep_in_order(ipywidgets.Button(description=label, tooltip=about, button_style=style))


_FIELDS = {
    "give cold_start=, in seconds": "set it under Simulation",
    "give boot=, in seconds": "set it under Simulation",
    "give Options(cold_start=...), in seconds": "set it under Simulation",
    "give its price as Local(hourly_price=...)": "give its price under Inference type",
    MEASURE_AGAIN: "the button under Service times",
}


def name_fields(note: str) -> str:
    """Return a note with the fields of the app in the place of what is written in code.

    >>> name_fields("New instances start without delay: give cold_start=, in seconds.")
    'New instances start without delay: set it under Simulation.'
    """
    for code, field in _FIELDS.items():
        note = note.replace(code, field)
    return note


_SECONDS = re.compile(r"of seconds\b(.*, got )([-\d.e]+)\.$")


def name_labels(error: str, labels: Mapping[str, str]) -> str:
    """Return an error with the labels of fields in the place of the names of their settings.

    A name counts as one where the error begins with it, or where it has an underscore. What is
    entered in milliseconds is given in them.

    >>> labels = {"max_size": "Max size", "max_wait": "Max wait (ms)"}
    >>> name_labels("max_size must be a whole number of at least 1, got 0.", labels)
    'Max size must be a whole number of at least 1, got 0.'
    >>> name_labels("max_wait must be a finite number of seconds, got -0.005.", labels)
    'Max wait must be a finite number of milliseconds, got -5.'
    """

    def label(found: re.Match[str]) -> str:
        name = found[0]
        words = re.sub(r" \([^()]*\)$", "", labels.get(name, name))  # without its unit
        return name.capitalize() if name in labels and words.islower() else words

    if "(ms)" in labels.get(error.partition(" ")[0], ""):
        error = _SECONDS.sub(lambda m: f"of milliseconds{m[1]}{1000 * float(m[2]):g}.", error)
    return re.sub(r"^\w+|\b[a-z]+_\w+", label, error)


def _label_of(control: Control) -> str:
    return html.unescape(re.sub("<[^>]*>", "", control.description))


def side_by_side(*controls: Control, **layout: str) -> ipywidgets.Box:
    """Return controls in a row, and below it those for which there is no room."""
    return ipywidgets.Box(controls, layout=ipywidgets.Layout(flex_flow="row wrap", **layout))


def progress_bar(width: str) -> ipywidgets.IntProgress:
    """Return a bar that is hidden until something is under way."""
    return ipywidgets.IntProgress(layout=ipywidgets.Layout(width=width, display="none"))


def show(control: Control, *, shown: bool) -> None:
    """Show or hide a control."""
    control.layout.display = None if shown else "none"


class Form(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Controls by the name of the setting that each holds; `changed` is called when one changes."""

    def __init__(
        self,
        controls: Mapping[str, Control],
        changed: Callable[[object], object] = lambda _: None,
    ) -> None:
        self.controls = dict(controls)
        self._lines: dict[str, ipywidgets.HTML] = {}  # made when there is something to say
        self._lifted: set[str] = set()
        self._rows = {name: ipywidgets.VBox([each]) for name, each in self.controls.items()}
        super().__init__(list(self._rows.values()))
        for control in self.controls.values():
            control.observe(changed, "value")

    def __getitem__(self, name: str) -> Control:
        return self.controls[name]

    @property
    def values(self) -> dict[str, Any]:
        """What the controls that are shown hold, by name."""
        return {
            name: control.value
            for name, control in self.controls.items()
            if self._rows[name].layout.display != "none"
        }

    def lift(self, name: str) -> ipywidgets.VBox:
        """Return a control, with the line for what is wrong, to be shown elsewhere from now on."""
        self._lifted.add(name)
        self.children = [row for each, row in self._rows.items() if each not in self._lifted]
        return self._rows[name]

    @property
    def wrong_above(self) -> bool:
        """Whether a control that was lifted is refused."""
        return any(self._lines[name].value for name in self._lifted & self._lines.keys())

    def show(self, names: Sequence[str]) -> None:
        """Show the controls of these names alone."""
        for name, row in self._rows.items():
            show(row, shown=name in names)

    def refuse(self, error: str, about: str = "") -> str:
        """Say what is wrong beside the control that it is about, and return it as it is said there.

        By default it is the one with whose name the error begins; "" is returned where there is
        none. What was said before is taken back.
        """
        wrong = about or re.split(r"\W", error, maxsplit=1)[0]
        if wrong in self.controls and wrong not in self._lines:
            self._lines[wrong] = ipywidgets.HTML()
            self._rows[wrong].children = (self.controls[wrong], self._lines[wrong])
        labels = {name: _label_of(each) for name, each in self.controls.items()}
        words = name_labels(error, labels) if wrong in self.controls else ""
        for name, line in self._lines.items():
            said = _error_html(words) if name == wrong else ""
            if line.value != said:
                line.value, control = said, self.controls[name]
                (control.add_class if said else control.remove_class)("wb-refused")
        return words


def _error_html(error: str) -> str:
    return f'<div class="wb-error" role="alert">{html.escape(error)}</div>'
