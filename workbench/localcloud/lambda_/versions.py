"""What Lambda keeps of functions: their versions and aliases, and how a name leads to one of them.

What may be asked for, and how it is refused, is as the Lambda API Reference says.
"""

import asyncio
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.localcloud.core.paging import Pager
from workbench.localcloud.core.protocol import ACCOUNT, AwsError, arn
from workbench.localcloud.core.store import Store, StoreTable
from workbench.localcloud.lambda_.code_packages import invalid_parameter_error, user_error
from workbench.localcloud.lambda_.configuration import LATEST, filter_public

if TYPE_CHECKING:
    from workbench.localcloud.lambda_.environments import FunctionFleet

ACCOUNT_LIMIT = 1000
"""Events of an account that may be under way at once (Lambda developer guide, "Lambda quotas")."""

PAGER = Pager(  # Lambda returns up to 50, whatever is asked for (API reference, ListFunctions)
    50,
    size="MaxItems",
    token="Marker",  # noqa: S106 - a parameter's name
    next_token="NextMarker",  # noqa: S106 - a member's name
    error="InvalidParameterValueException",
)
_VERSION_COLUMNS = """
name TEXT NOT NULL, version TEXT NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (name, version)
"""
_ALIAS_COLUMNS = """
name TEXT NOT NULL, alias TEXT NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (name, alias)
"""
_LIMIT_COLUMNS = "name TEXT PRIMARY KEY, reserved INTEGER, next INTEGER NOT NULL"
_NAME = re.compile(r"(arn:[^:]+:lambda:[^:]*:)?(\d{12}:)?(function:)?([\w-]{1,64})(:([\w$-]+))?")


@dataclass(eq=False)
class Version:
    """A version of a function; `facts` are what GetFunctionConfiguration says of it."""

    facts: dict[str, Any]
    code: str = ""  # the sha256 of its zip; "" for an image
    fleet: "FunctionFleet | None" = None
    provisioned: int = 0  # environments, as PutProvisionedConcurrencyConfig asked for them
    provisioned_by: str = ""  # the qualifier that it named: this version's number, or an alias
    provisioning: str = ""  # why there are no provisioned environments, or not yet
    changed: str = ""
    resizing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def active(self) -> bool:
        """Whether it can be invoked."""
        return bool(self.facts["State"] == "Active")

    @property
    def name(self) -> str:
        """Its number, or $LATEST."""
        return str(self.facts["Version"])


@dataclass(eq=False)
class Alias:
    """A name for one version of a function, or for two by weight; `facts` are GetAlias's."""

    facts: dict[str, Any]

    @property
    def version(self) -> str:
        """The version that answers what no other one does."""
        return str(self.facts["FunctionVersion"])

    @property
    def weights(self) -> Mapping[str, float]:
        """The shares of events that other versions answer, by version."""
        routing: Mapping[str, Mapping[str, float]] = self.facts.get("RoutingConfig", {})
        return routing.get("AdditionalVersionWeights", {})

    def draw_version(self, generator: random.Random) -> str:
        """Return the version that answers the next event."""
        drawn = generator.random()
        for version, weight in self.weights.items():
            if (drawn := drawn - weight) < 0:
                return version
        return self.version


@dataclass(eq=False)
class Function:
    """A function with all its versions and aliases."""

    name: str
    arn: str  # without a version, of the region that it was made in
    versions: dict[str, Version] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    reserved: int | None = None
    next: int = 1

    @property
    def under_way(self) -> int:
        """Events that are being answered."""
        return sum(each.fleet.under_way for each in self.versions.values() if each.fleet)


class Target(NamedTuple):
    """What a name leads to; `qualifier` is "" where the name had none."""

    function: Function
    version: Version
    qualifier: str

    @property
    def alias(self) -> Alias | None:
        """The alias that it was called by."""
        return self.function.aliases.get(self.qualifier)

    @property
    def policy_holder(self) -> Version | Alias:
        """What has a resource policy of its own."""
        return self.alias or self.version

    @property
    def arn(self) -> str:
        """What it was called by, as an ARN."""
        return self.function.arn + (f":{self.qualifier}" if self.qualifier else "")

    def description(self) -> dict[str, Any]:
        """Return what GetFunctionConfiguration says."""
        return filter_public(self.version.facts) | {"FunctionArn": self.arn}


class FunctionTable:
    """The functions of a local cloud, in memory and on the disk."""

    def __init__(self, store: Store) -> None:
        self.functions: dict[str, Function] = {}
        self._store = store
        self._versions = StoreTable(store, "functions", _VERSION_COLUMNS, json=["facts"])
        self._aliases = StoreTable(store, "function_aliases", _ALIAS_COLUMNS, json=["facts"])
        self._limits = StoreTable(store, "function_limits", _LIMIT_COLUMNS)

    def load(self) -> None:
        """Bring back the functions that were there when the local cloud ended."""
        for row in self._limits.rows():
            name = row["name"]
            self.functions[name] = Function(name, "", reserved=row["reserved"], next=row["next"])
        for row in self._versions.rows():
            function, facts = self.functions[row["name"]], row["facts"]
            version = Version(facts["configuration"], facts["code"])
            function.versions[version.name] = version
            if version.name == LATEST:
                function.arn = version.facts["FunctionArn"]
        for row in self._aliases.rows():
            self.functions[row["name"]].aliases[row["alias"]] = Alias(row["facts"])

    def __iter__(self) -> Iterator[tuple[Function, Version]]:
        for function in self.functions.values():
            for version in function.versions.values():
                yield function, version

    def find(self, named: str, qualifier: str | None = None) -> Target:
        """Return what a name or ARN leads to; of an alias the version that answers most events.

        Raises:
            AwsError: There is none, or the name's own qualifier is another.
        """
        function, qualifier = self.find_function(named, qualifier)
        alias = function.aliases.get(qualifier)
        version = function.versions.get(alias.version if alias else qualifier or LATEST)
        if version is None:
            raise not_found_error(f"Function not found: {function.arn}:{qualifier}")
        return Target(function, version, qualifier)

    def find_function(self, named: str, qualifier: str | None = None) -> tuple[Function, str]:
        """Return a function, by name or ARN, and the qualifier that either names, "" for none.

        Raises:
            AwsError: There is none, or the name's own qualifier is another.
        """
        if named in self.functions:
            return self.functions[named], qualifier or ""
        parts = _NAME.fullmatch(named)
        own = parts[6] if parts else None
        function = self.functions.get(parts[4]) if parts else None
        # what is before a name, of region and account, must be that of the function
        ours = parts is not None and parts[2] in (None, f"{ACCOUNT}:")
        if (
            parts is None
            or function is None
            or not (ours and function.arn.startswith(parts[1] or ""))
        ):
            other = arn("lambda", f"function:{named.rpartition('function:')[2]}")
            wanted = named if named.startswith("arn:") else other
            tail = f":{qualifier}" if qualifier and not own else ""
            raise not_found_error(f"Function not found: {wanted}{tail}")
        if qualifier and own and qualifier != own:
            raise invalid_parameter_error(
                "The derived qualifier from the function name does not match the specified "
                "qualifier."
            )
        return function, qualifier or own or ""

    def limit(self, function: Function) -> int:
        """Return how many events of a function may be under way at once."""
        if function.reserved is not None:
            return function.reserved
        return ACCOUNT_LIMIT - self.total_reserve

    @property
    def total_reserve(self) -> int:
        """How many events of the account's limit are reserved for functions."""
        return sum(each.reserved or 0 for each in self.functions.values())

    def full(self, function: Function) -> bool:
        """Whether as many events are under way as may be: of it, or of all without a reserve."""
        if function.reserved is not None:
            return function.under_way >= function.reserved
        others = (each for each in self.functions.values() if each.reserved is None)
        return sum(each.under_way for each in others) >= self.limit(function)

    # --- on the disk

    def save(self, function: Function, version: Version) -> None:
        """Keep a version, and its function."""
        facts = {"configuration": version.facts, "code": version.code}
        with self._store.write():
            self._versions.put(name=function.name, version=version.name, facts=facts)
            self.save_limits(function)

    def save_alias(self, function: Function, alias: Alias) -> None:
        """Keep an alias."""
        function.aliases[alias.facts["Name"]] = alias
        self._aliases.put(name=function.name, alias=alias.facts["Name"], facts=alias.facts)

    def save_target(self, target: Target) -> None:
        """Keep the alias or version that a name leads to."""
        if target.alias is not None:
            self.save_alias(target.function, target.alias)
        else:
            self.save(target.function, target.version)

    def save_limits(self, function: Function) -> None:
        """Keep a function's reserve, and the number of its next version."""
        self._limits.put(name=function.name, reserved=function.reserved, next=function.next)

    def remove_version(self, function: Function, version: Version) -> None:
        """Forget a version."""
        self._versions.remove(name=function.name, version=version.name)
        del function.versions[version.name]

    def remove_alias(self, function: Function, name: str) -> None:
        """Forget an alias, if it is there."""
        self._aliases.remove(name=function.name, alias=name)
        function.aliases.pop(name, None)

    def remove(self, function: Function) -> None:
        """Forget a function with all its aliases; its versions are removed by themselves."""
        self._aliases.remove(name=function.name)
        self._limits.remove(name=function.name)
        del self.functions[function.name]


def parse_function_name(named: str) -> str:
    """Return the name in a name or ARN.

    Raises:
        AwsError: It is neither.
    """
    parts = _NAME.fullmatch(named)
    if parts is None:
        raise invalid_parameter_error(f"{named} is no name of a function.")
    return parts[4]


def check_revision(params: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Check that what is to be changed is still what the client thinks.

    Raises:
        AwsError: It was changed since.
    """
    if params.get("RevisionId", facts["RevisionId"]) != facts["RevisionId"]:
        said = "The RevisionId provided does not match the latest RevisionId."
        raise user_error("PreconditionFailedException", said, 412)


def conflict_error(message: str) -> AwsError:
    """Return the error for what other things stand against."""
    return user_error("ResourceConflictException", message, 409)


def not_active_error(version: Version) -> AwsError:
    """Return the error for what needs a function that is Active."""
    return conflict_error(
        "The operation cannot be performed at this time. The function is currently in the "
        f"following state: {version.facts['State']}"
    )


def not_found_error(message: str) -> AwsError:
    """Return the error for what is not there."""
    return user_error("ResourceNotFoundException", message, 404)
