"""Service times on a deployment, and where they come from."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.deployment.base import Size
from workbench.deployment.vcpu_rule import service_on
from workbench.errors import InvalidInput
from workbench.measuring.setup import Setup, find_largest
from workbench.progress import Progress
from workbench.service_times import ServiceTimes

if TYPE_CHECKING:
    from workbench.measuring.profile import Profile


class DeployedTimes(NamedTuple):
    """Service times on a deployment, facts of their source, and warnings about it."""

    times: ServiceTimes
    facts: dict[str, Any]
    warnings: list[str]


def complete_profile(setup: Setup, *, progress: Progress | None = None) -> "Profile":
    """Return the kept profile of an experiment's model, which covers its batches.

    What is missing in it is measured first: see `workbench.measuring.profile_cache`.
    """
    from workbench.measuring.profile_cache import ensure_profile

    threads = setup.deployment.session_threads
    largest = find_largest(setup)
    return ensure_profile(setup.model, largest=largest, threads=threads, progress=progress)


def find_part_times(setup: Setup, profile: Any = None, **terms: Any) -> list[DeployedTimes]:  # noqa: ANN401 - those of `find_times`
    """Return the service times on each simple part of a deployment: see `find_times`."""
    parts = setup.deployment.simple_parts
    return [find_times(setup.on(part), profile, **terms) for part in parts]


def list_warnings(found: Iterable[DeployedTimes]) -> list[str]:
    """Return the warnings about several service times, each once."""
    return [*dict.fromkeys(warning for each in found for warning in each.warnings)]


def find_times(
    setup: Setup,
    profile: "Profile | ServiceTimes | Mapping[str, Any] | None" = None,
    *,
    measured: Mapping[Size, ServiceTimes] | None = None,
    progress: Progress | None = None,
) -> DeployedTimes:
    """Return the service times of an experiment's model on its deployment.

    Args:
        setup: The experiment.
        profile: Times on this machine; by default the saved profile, completed first.
        measured: Times by memory in MB or instance type, in place of the rule of
            `workbench.deployment.vcpu_rule`.
        progress: Notified of the measurement of a profile.

    Raises:
        InvalidInput: An argument is of another kind.
    """
    threads = setup.deployment.session_threads
    if isinstance(profile, ServiceTimes):
        here = DeployedTimes(profile, profile.to_dict(), [])
    else:
        from workbench.measuring.profile import Profile
        from workbench.measuring.profile_cache import read_service_times

        if profile is None:
            profile = complete_profile(setup, progress=progress)
        if not isinstance(profile, Profile):
            raise InvalidInput(f"profile must be a Profile or ServiceTimes, got {profile!r}.")
        times, facts = read_service_times(profile, threads=threads)
        here = DeployedTimes(times, facts, _warnings(setup, profile))
    times = service_on(here.times, setup.deployment, measured=measured, threads=threads)
    return here._replace(times=times)


def _warnings(setup: Setup, profile: "Profile") -> list[str]:
    """Return warnings of what the profile cannot know about the deployment."""
    sha256 = profile.facts.get("model", {}).get("sha256")
    warnings = [profile.quality.caveat] if profile.quality.caveat else []
    if sha256 not in (None, setup.model.sha256):
        warnings.append(f"The profile is of another model: {profile.label}.")
    cores = profile.facts.get("environment", {}).get("cores")
    if not setup.deployment.needs and cores:
        wanted = setup.deployment.instance_workers * setup.deployment.session_threads
        if wanted > cores:
            warnings.append(
                f"{setup.deployment.label} wants {wanted} cores, and the profiled machine has "
                f"{cores}: busy workers slow each other down, which is not counted."
            )
    return warnings
