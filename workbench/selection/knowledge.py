"""What is known of candidates, whatever is asked: times, answers, accuracy in a mix of requests."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workbench.ensembles import Ensemble
from workbench.errors import NotFound
from workbench.measuring.outcomes import Outcomes, find_outcomes, recall_outcomes
from workbench.measuring.profile_cache import ensure_profile
from workbench.selection.compositions import compose_outcomes, first_model, is_fixed
from workbench.selection.evidence import UNMEASURED, Evidence, gather_evidence
from workbench.selection.standings import title_of
from workbench.service_times import ServiceTimes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.measuring.profile import Profile
    from workbench.progress import Progress
    from workbench.registry.model import Model


@dataclass(eq=False)
class Knowledge:
    """What is known of candidates by name: found out once, and kept while questions change.

    Attributes:
        profiles: Service times on this machine, where they were given.
        outcomes: Answers to the pool.
        measure: Whether what is not kept is measured.
    """

    profiles: Mapping[str, Profile | ServiceTimes]
    outcomes: dict[str, Outcomes]
    measure: bool = True
    _times: dict[tuple[str, int, int], ServiceTimes] = field(default_factory=dict)
    _evidence: dict[tuple[str, tuple[tuple[str, float], ...]], Evidence] = field(
        default_factory=dict
    )

    def renew(self, *, measure: bool) -> Knowledge:
        """Return the same, measuring what is missing or not."""
        return replace(self, measure=measure or self.measure)

    def find_times(
        self, model: Model, largest: int, threads: int, progress: Progress | None = None
    ) -> ServiceTimes | None:
        """Return the service times of a model here; None where they are not to be measured.

        `progress` is notified while they are measured.
        """
        key = model.name, largest, threads
        if key not in self._times:
            known = self.profiles.get(model.name)
            if known is None:
                try:
                    how: dict[str, Any] = (
                        {"progress": progress} if self.measure else {"measure": _refuse}
                    )
                    known = ensure_profile(model, largest=largest, threads=threads, **how)
                except NotFound:
                    return None
            if not isinstance(known, ServiceTimes):
                known = ServiceTimes.from_profile(known, threads=threads, largest=largest)
            self._times[key] = known
        return self._times[key]

    def find_outcomes(
        self, candidate: Model | Ensemble, progress: Progress | None = None
    ) -> Outcomes | None:
        """Return what is answered to each row of the pool.

        `progress` is notified while models answer.
        None for what is no classifier, for an ensemble whose answer to a row is not always the
        same, and where answers are not kept and not to be measured.
        """
        title = title_of(candidate)
        if title not in self.outcomes:
            found: Outcomes | None = None
            if isinstance(candidate, Ensemble):
                fixed = is_fixed(candidate)
                members = self.find_member_outcomes(candidate, progress) if fixed else None
                found = None if members is None else compose_outcomes(candidate, members)
            elif candidate.traits.kind == "classification" and self.measure:
                found = find_outcomes(candidate, progress=progress)
            elif candidate.traits.kind == "classification":
                found = recall_outcomes(candidate)
            if found is None:
                return None
            self.outcomes[title] = found
        return self.outcomes[title]

    def find_member_outcomes(
        self, ensemble: Ensemble, progress: Progress | None = None
    ) -> dict[str, Outcomes] | None:
        """Return the answers of each member by its name; None where those of one are missing."""
        members = {name: each.model for name, each in ensemble.members.items()}
        found = {name: self.find_outcomes(model, progress) for name, model in members.items()}
        known = {name: each for name, each in found.items() if each is not None}
        return known if len(known) == len(found) else None

    def gather(self, candidate: Model | Ensemble, mix: Mapping[str, float]) -> Evidence:
        """Return what is known of the accuracy of a candidate in a mix of requests."""
        outcomes = self.find_outcomes(candidate)
        key = title_of(candidate), tuple(mix.items())
        if key in self._evidence:
            return self._evidence[key]
        model = first_model(candidate)
        if isinstance(candidate, Ensemble):
            metric = model.traits.metric or "score"
            if outcomes is None:
                return replace(UNMEASURED, metric=metric)
            if not outcomes.has_targets:
                return Evidence(accuracy=math.nan, metric=metric)
        found = gather_evidence(model, mix, outcomes)
        if outcomes is not None:
            self._evidence[key] = found
        return found


def _refuse(*_: object, **__: object) -> Profile:
    raise NotFound("No profile is kept, and none is to be measured.")
