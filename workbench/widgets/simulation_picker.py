"""What a simulation takes for granted, as controls."""

from typing import Any

from workbench.errors import InvalidInput
from workbench.widgets.form import integer, text
from workbench.widgets.pickers import Picker


class SimulationPicker(Picker):
    """What a simulation takes for granted; `value` holds arguments of `Experiment.simulate`."""

    def __init__(self, cold_start: float = 0.0, boot: float = 0.0) -> None:
        begin = {"cold_start": cold_start, "boot": boot}
        held = {name: f"{seconds:g}" if seconds else "" for name, seconds in begin.items()}
        controls = {
            "cold_start": text(
                "Cold start (s)",
                held["cold_start"],
                "no time",
                "How long a new instance takes to start.",
            ),
            "boot": text(
                "Boot (s)",
                held["boot"],
                "as a cold start",
                "How long an instance of a fleet or of a job takes to start, where that differs. "
                "A job waits 180 s where nothing is given.",
            ),
            "seed": integer(
                "Seed", 0, "Of all that a simulation draws: the same seed, the same run."
            ),
        }
        super().__init__("Simulation", controls)

    def _make(self) -> dict[str, Any]:
        seed = self["seed"].value
        if seed < 0:
            raise InvalidInput(f"seed must be a whole number of at least 0, got {seed}.")
        settings = {"seed": seed} if seed else {}
        entered = {name: self[name].value.strip() for name in ("cold_start", "boot")}
        return settings | {name: _seconds(name, each) for name, each in entered.items() if each}

    def _describe(self, value: dict[str, Any]) -> str:
        words = "New instances start without delay."
        if "cold_start" in value:
            words = f"A new instance takes {value['cold_start']:g} s to start."
        more = f" An instance of a fleet takes {value.get('boot', 0):g} s."
        return words + more if "boot" in value else words


def _seconds(name: str, entered: str) -> float:
    try:
        seconds = float(entered)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise InvalidInput(f"{name} must be seconds, 0 or more, or nothing, got {entered!r}.")
    return seconds
