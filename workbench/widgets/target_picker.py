"""Where a run takes place: on this machine, on a local cloud, or on AWS for money."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import traitlets

from workbench.cloud.aws import Cloud, aws, image_of, role_of
from workbench.cloud.cost_guard import describe_cost
from workbench.experiment import Experiment
from workbench.files import runs_folder
from workbench.formatting import dollars
from workbench.run import Run
from workbench.scaling.base import ScalingPolicy
from workbench.validation import not_negative
from workbench.widgets.form import choice, number, text
from workbench.widgets.pickers import Picker

BeforeClose = Callable[[], object]


@dataclass(frozen=True)
class ThisMachine:
    """This machine, without a cloud."""

    code: ClassVar[str] = "run = experiment.run()"
    label: ClassVar[str] = "This machine, in a process of its own."
    preparing: ClassVar[str] = "the model is being loaded"
    stopping: ClassVar[str] = "what was answered is kept"

    def terms(self, _experiment: Experiment, _scaling: ScalingPolicy | None = None) -> str:
        """Return what has to be agreed to: nothing."""
        return ""

    def run(self, experiment: Experiment, before_close: BeforeClose, **settings: Any) -> Run:  # noqa: ANN401, ARG002 - of Experiment.run; no cloud is closed
        """Return the experiment's run there."""
        return experiment.run(**settings)


@dataclass(frozen=True)
class OnLocalCloud(ThisMachine):
    """A local cloud that is there for the run alone."""

    code: ClassVar[str] = "with wb.LocalCloud() as cloud:\n    run = experiment.run(cloud)"
    label: ClassVar[str] = "Through boto3, on real processes of this machine; costs nothing."
    preparing: ClassVar[str] = "the model is being deployed on a local cloud"
    stopping: ClassVar[str] = "what was answered is kept, and all that was made is torn down"

    def run(self, experiment: Experiment, before_close: BeforeClose, **settings: Any) -> Run:  # noqa: ANN401 - of Experiment.run
        """Return the experiment's run there; `before_close` is called before the cloud goes."""
        from workbench.localcloud import LocalCloud

        with LocalCloud() as cloud:
            try:
                return experiment.run(cloud, **settings)
            finally:
                before_close()


@dataclass(frozen=True)
class OnAWS:
    """AWS: what is made for a run is torn down at its end.

    Attributes:
        profile: Of the credentials; "": whatever boto3 finds.
        region: "": the usual one.
        role: The ARN of the role that endpoints run under; "": that of the environment.
        image: The URI of the image with the model server; "": that of the environment.
        budget: The most that a run may cost, in US dollars.

    Raises:
        InvalidInput: The budget is negative.
    """

    profile: str = ""
    region: str = ""
    role: str = ""
    image: str = ""
    budget: float = 1.0
    preparing: ClassVar[str] = "the model is being deployed on AWS, which takes minutes"
    stopping: ClassVar[str] = f"{OnLocalCloud.stopping}, which can take minutes"

    def __post_init__(self) -> None:
        not_negative("budget", self.budget, "US dollars")

    @property
    def _session_arguments(self) -> dict[str, str]:
        named = {name: getattr(self, name) for name in _AWS_FIELDS}
        return {name: value for name, value in named.items() if value}

    @property
    def cloud(self) -> Cloud:
        """The cloud.

        Raises:
            NotAvailable: There is no such profile.
        """
        return aws(**self._session_arguments)

    @property
    def label(self) -> str:
        """Where it is, and what it may cost."""
        cloud = self.cloud
        return f"{cloud.name} {cloud.region}, for at most {dollars(self.budget)} a run."

    @property
    def code(self) -> str:
        """The line that does it, agreed to."""
        arguments = ", ".join(
            f"{name}={value!r}" for name, value in self._session_arguments.items()
        )
        return f"run = experiment.run(wb.aws({arguments}), budget={self.budget!r}, yes=True)"

    def terms(self, experiment: Experiment, scaling: ScalingPolicy | None = None) -> str:
        """Return what has to be agreed to; AWS is not asked.

        Raises:
            NotAvailable: A role or an image is missing.
            OverBudget: It can cost more than the budget.
            InvalidInput: The experiment does not go on a cloud.
        """
        cloud, cost = self.cloud, experiment.estimate(scaling=scaling)
        role_of(cloud)
        image_of(cloud)
        return describe_cost(cost, experiment.deployment, cloud, budget=self.budget)

    def run(self, experiment: Experiment, before_close: BeforeClose, **settings: Any) -> Run:  # noqa: ANN401, ARG002 - of Experiment.run; AWS stays
        """Return the experiment's run there, whose terms were agreed to."""
        return experiment.run(self.cloud, budget=self.budget, yes=True, **settings)


Target = ThisMachine | OnAWS

_AWS_FIELDS = {
    "profile": ("AWS profile", "Whose credentials are used."),
    "region": ("AWS region", "For instance eu-west-1."),
    "role": ("Role", "ARN of the role that endpoints run under, which SageMaker may take."),
    "image": ("Image", "URI of the image with the model server."),
}
"""Labels and help texts of what `workbench.aws` takes."""


class TargetPicker(Picker):
    """Where a run takes place; `value` is a `ThisMachine`, `OnLocalCloud` or `OnAWS`.

    `cloud` tells whether the deployment needs one: what does not suit is not offered.
    """

    cloud = traitlets.Bool(default_value=False)

    def __init__(self) -> None:
        controls = {
            "where": choice(
                "Run on", [("This machine", ThisMachine)], ThisMachine, "Where Run takes place."
            ),
            **{
                name: text(label, "", "the usual one", about)
                for name, (label, about) in _AWS_FIELDS.items()
            },
            "budget": number("Budget (USD)", 1.0, "What a run may cost at most."),
        }
        super().__init__("Run on", controls)

    @traitlets.observe("cloud")
    def _update_choices(self, change: dict[str, Any]) -> None:
        self["where"].options = _CLOUDS if change["new"] else [("This machine", ThisMachine)]

    def _make(self) -> Target:
        paid = self["where"].value is OnAWS
        self.form.show(["where", *_AWS_FIELDS, "budget"] if paid else ["where"])
        values = {name: value for name, value in self.form.values.items() if name != "where"}
        target: Target = (self["where"].value or ThisMachine)(**values)
        return target


_CLOUDS = [("Local cloud", OnLocalCloud), ("AWS", OnAWS)]


def choose_run_folder(experiment: Experiment) -> Path:
    """Return a new folder for a run of the app: below `runs` where the workbench keeps things."""
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return runs_folder() / f"{experiment.model.name.partition(':')[0]}-{now}-{secrets.token_hex(2)}"
