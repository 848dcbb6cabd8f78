"""What a run was: a record with a field for each fact, read and written as JSON.

Each field but the ones with a plain default is None where it is not known or does not apply, and
is then left out of the JSON.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

from workbench.batching.timer import Policy
from workbench.deployment.base import Deployment
from workbench.errors import InvalidInput
from workbench.quantiles import SLO
from workbench.run.past_errors import PastErrors
from workbench.run.replications import Replications
from workbench.traffic.trace import Trace
from workbench.validation import as_tuple, finite, keep, not_negative, of_kind, whole_number

MAX_PLACES = 256
"""Places that a run can have: its column `place` is a byte a request."""

Parser = Callable[[str, Any], Any]
"""Checks a value by the name of what it is, or reads it from JSON."""


def _parse_text(name: str, value: Any) -> str:  # noqa: ANN401 - any JSON value
    return str(of_kind(name, value, str, "a text"))


def _parse_flag(name: str, value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return bool(of_kind(name, value, bool, "true or false"))


def _parse_count(name: str, value: Any) -> int:  # noqa: ANN401 - any JSON value
    return whole_number(name, value, low=0)


def _parse_object(name: str, value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - any JSON value
    return dict(of_kind(name, value, Mapping, "a JSON object"))


def _list_of(parse: Parser) -> Parser:
    """Return what parses a list, each of whose members that parses."""
    return lambda name, value: tuple(
        parse(f"Each of {name}", each) for each in as_tuple(name, value)
    )


def _pairs_of(parse: Parser) -> Parser:
    """Return what parses pairs of a number and of what that parses."""

    def parse_pairs(name: str, value: Any) -> tuple[tuple[float, Any], ...]:  # noqa: ANN401
        pairs = [as_tuple(f"Each of {name}", each) for each in as_tuple(name, value)]
        if any(len(pair) != 2 for pair in pairs):
            raise InvalidInput(f"{name} must be pairs, got {value!r}.")
        return tuple((finite(name, first), parse(name, second)) for first, second in pairs)

    return parse_pairs


def _parse_deployment(name: str, value: Any) -> Deployment:  # noqa: ANN401 - any JSON value
    if isinstance(value, Deployment):
        return value
    return Deployment.from_dict(_parse_object(name, value))


def _parser_of(kind: type[Any]) -> Parser:
    """Return what makes a part of the record, one of its classes here, from JSON."""

    def parse(name: str, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(value, kind):
            return value
        values = _parse_object(name, value)
        _reject_unknown(name, values, (each.name for each in fields(kind)))
        try:
            return kind(**values)
        except TypeError as error:
            raise InvalidInput(f"{name} lacks what it needs, got {value!r}.") from error

    return parse


def _reject_unknown(name: str, values: Mapping[str, Any], known: Iterable[str]) -> None:
    known = list(known)
    if unknown := sorted(set(values) - set(known)):
        raise InvalidInput(f"{name} has no {', '.join(unknown)}: it has {', '.join(known)}.")


def _fact(parse: Parser, default: Any = None) -> Any:  # noqa: ANN401 - a field
    """Return a field that need not be known, with what checks its value or reads it from JSON."""
    return field(default=default, metadata={"parse": parse})


def _must(parse: Parser) -> Any:  # noqa: ANN401 - a field
    """Return a field that has to be known."""
    return field(metadata={"parse": parse})


@dataclass(frozen=True, kw_only=True)
class _Record:
    """Base of the records: each field holds what its parser returns; None is its default."""

    def __post_init__(self) -> None:
        for each in fields(self):
            given = getattr(self, each.name)
            if given is not None or each.default is MISSING:
                keep(self, **{each.name: each.metadata["parse"](each.name, given)})
            else:  # known to be not known
                keep(self, **{each.name: each.default})


@dataclass(frozen=True, kw_only=True)
class ModelRecord(_Record):
    """The model of a run: its name and version, the hash of its file, traits and lineage."""

    name: str = _must(_parse_text)
    sha256: str | None = _fact(_parse_text)
    traits: Mapping[str, Any] | None = _fact(_parse_object)
    lineage: Mapping[str, Any] | None = _fact(_parse_object)


@dataclass(frozen=True, kw_only=True)
class MemberRecord(_Record):
    """A member of an ensemble, or a part of a composite deployment: what answered, where and how.

    `instances` and `counts` are as in `RunRecord`; `network_latency` is seconds to the member and
    back, by the client's number.
    """

    name: str = _must(_parse_text)
    deployment: Deployment = _must(_parse_deployment)
    model: ModelRecord | None = _fact(_parser_of(ModelRecord))
    policy: Mapping[str, Any] | None = _fact(_parse_object)
    instances: tuple[tuple[float, float], ...] | None = _fact(_pairs_of(finite))
    counts: tuple[tuple[float, int], ...] | None = _fact(_pairs_of(_parse_count))
    network_latency: tuple[float, ...] | None = _fact(_list_of(not_negative))


@dataclass(frozen=True, kw_only=True)
class TraceRecord(_Record):
    """The trace of a run: its name, requests, seconds, hash of its arrivals, and who to cite."""

    name: str = _must(_parse_text)
    requests: int | None = _fact(_parse_count)
    duration: float | None = _fact(not_negative)
    sha256: str | None = _fact(_parse_text)
    notice: str = _fact(_parse_text, "")


@dataclass(frozen=True, kw_only=True)
class Lag(_Record):
    """How late the load generator sent requests, in seconds: median, 99th percentile, most."""

    p50: float = _must(finite)
    p99: float = _must(finite)
    max: float = _must(finite)


@dataclass(frozen=True, kw_only=True)
class RunRecord(_Record):
    """What a run was made of, how it went, and where.

    Attributes:
        label: The run in a few words; by default its origin.
        origin: How the figures came about: "measured: this machine", "simulated", ...
        model, deployment, trace: What answered, on what, which requests.
        policy: How requests became batches, as its `to_dict` says: anybody may write a policy.
        slo: The target that the run was made for.
        places: The names of the parts that answered; the column `place` counts in them.
        members: Of an ensemble, one for each place; None of a plain run.
        router: The policy that chose among them, as its `to_dict` says.
        patience: Seconds after which a member without an answer was given up; None: never.
        row_bytes: Bytes of a row in a request, on average.
        answer_bytes: Bytes of the answer to a row.
        seed: Of a simulation's draws; None also where it was a generator.
        replications: What independent repetitions of a simulation say.
        service: The service times that were simulated, as `ServiceTimes.to_dict` says.
        profile: Where those times come from.
        cold_start: Seconds a simulated instance takes to start, on average.
        scaling: What the size of the fleet followed, as the policy's `to_dict` says.
        spot: What took spot instances away and what they cost, as `SpotPool.to_dict` says.
        instances: From when to when each instance was billed, in seconds of the run.
        counts: From which second on there were so many instances, as they were counted.
        activities: What Application Auto Scaling did.
        cloud: Name, region and settings of the cloud, and what was deployed there.
        created: When the run began: a date and time in ISO 8601, UTC.
        seconds: How long it took to make.
        environment: Processor, versions, commit: see `workbench.provenance.environment`.
        complete: Whether every request of the trace was sent and awaited.
        valid: Whether the load generator kept to the schedule.
        lag: How late it was.
        retries: How many times a batch was sent again.
        batch_invariance: What batching does to the model's answers.
        warnings: What a reader of the figures has to know.
        kept: The folder of a run that was made with `keep`.
        note: What somebody wrote about it.
        past_errors: How far simulations on this machine lay from measured runs before this one.

    Raises:
        InvalidInput: A value is not what it must be.

    >>> record = RunRecord(origin="simulated", trace={"name": "one a second"})
    >>> record.trace.name, record.to_dict()["origin"], record == RunRecord(**record.to_dict())
    ('one a second', 'simulated', True)
    """

    label: str | None = _fact(_parse_text)
    origin: str = _fact(_parse_text, "unknown")
    model: ModelRecord | None = _fact(_parser_of(ModelRecord))
    deployment: Deployment | None = _fact(_parse_deployment)
    policy: Mapping[str, Any] | None = _fact(_parse_object)
    trace: TraceRecord | None = _fact(_parser_of(TraceRecord))
    slo: SLO | None = _fact(_parser_of(SLO))
    places: tuple[str, ...] = _fact(_list_of(_parse_text), ("",))
    members: tuple[MemberRecord, ...] | None = _fact(_list_of(_parser_of(MemberRecord)))
    router: Mapping[str, Any] | None = _fact(_parse_object)
    patience: float | None = _fact(not_negative)
    row_bytes: float | None = _fact(not_negative)
    answer_bytes: float | None = _fact(not_negative)
    seed: int | None = _fact(_parse_count)
    replications: Replications | None = _fact(_parser_of(Replications))
    service: Mapping[str, Any] | None = _fact(_parse_object)
    profile: Mapping[str, Any] | None = _fact(_parse_object)
    cold_start: float | None = _fact(not_negative)
    scaling: Mapping[str, Any] | None = _fact(_parse_object)
    spot: Mapping[str, Any] | None = _fact(_parse_object)
    instances: tuple[tuple[float, float], ...] | None = _fact(_pairs_of(finite))
    counts: tuple[tuple[float, int], ...] | None = _fact(_pairs_of(_parse_count))
    activities: tuple[Mapping[str, Any], ...] | None = _fact(_list_of(_parse_object))
    cloud: Mapping[str, Any] | None = _fact(_parse_object)
    created: str | None = _fact(_parse_text)
    seconds: float | None = _fact(not_negative)
    environment: Mapping[str, Any] | None = _fact(_parse_object)
    complete: bool = _fact(_parse_flag, default=True)
    valid: bool = _fact(_parse_flag, default=True)
    lag: Lag | None = _fact(_parser_of(Lag))
    retries: int | None = _fact(_parse_count)
    batch_invariance: str | None = _fact(_parse_text)
    warnings: tuple[str, ...] = _fact(_list_of(_parse_text), ())
    kept: str | None = _fact(_parse_text)
    note: str | None = _fact(_parse_text)
    past_errors: PastErrors | None = _fact(_parser_of(PastErrors))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < len(self.places) <= MAX_PLACES:
            raise InvalidInput(f"A run has 1 to {MAX_PLACES} places, got {len(self.places)}.")
        names = tuple(each.name for each in self.members or ())
        if self.members is not None and names != self.places:
            raise InvalidInput(f"members must be those of places {self.places}, got {names}.")

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "RunRecord":
        """Return the record that `to_dict` described; what is missing in it is not known.

        Raises:
            InvalidInput: A fact is unknown, or its value is not what it must be.
        """
        facts = _parse_object("The record of a run", facts)
        _reject_unknown("The record of a run", facts, (each.name for each in fields(cls)))
        return cls(**facts)

    def to_dict(self) -> dict[str, Any]:
        """Return all that is known as JSON values."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: _to_json(value) for name, value in values.items() if value is not None}


def describe_setup(
    trace: Trace,
    policy: Policy | None,
    deployment: Deployment,
    slo: SLO | None,
    *,
    label: str,
    model: ModelRecord | None = None,
    **facts: Any,  # noqa: ANN401 - other fields of the record
) -> RunRecord:
    """Return the record of a run that is to be made.

    Where no `members` are among the other facts, the parts of a composite deployment are.
    """
    settings = None if policy is None else policy.to_dict()
    if "members" not in facts:
        facts["places"], parts = deployment.place_names, deployment.simple_parts
        members = tuple(
            MemberRecord(name=name, deployment=part, model=model, policy=settings)
            for name, part in zip(facts["places"], parts, strict=True)
        )
        facts["members"] = members if len(parts) > 1 else None
    return RunRecord(
        label=label,
        model=model,
        trace=TraceRecord(
            name=trace.name,
            requests=len(trace),
            duration=trace.duration,
            sha256=trace.digest,
            notice=trace.notice,
        ),
        policy=settings,
        deployment=deployment,
        slo=slo,
        **facts,
    )


def _to_json(value: Any) -> Any:  # noqa: ANN401 - a field of the record
    if isinstance(value, Deployment):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        values = {each.name: _to_json(getattr(value, each.name)) for each in fields(value)}
        return {name: each for name, each in values.items() if each is not None}
    if isinstance(value, tuple):
        return [_to_json(each) for each in value]
    return value
