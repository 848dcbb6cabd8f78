"""Model groups, their versions, who approved them and where they came from.

A registry is a directory, see `store`. Facts of a version never change; approval and stage do, and
every change is a row of an append-only history. A version that was removed keeps its rows and its
number, so that its history stays; its files go unless another version has them too.
"""

import copy
import getpass
import json
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, astuple, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args, runtime_checkable

from workbench.errors import Damaged, InvalidInput, NotFound
from workbench.files import as_path, home, read_and_verify
from workbench.formatting import Table
from workbench.progress import show_progress
from workbench.provenance import environment
from workbench.registry.adaptation import Adaptation
from workbench.registry.agreement import NOT_CHECKED, read_agreement
from workbench.registry.answers import Answer
from workbench.registry.invariance import BatchInvariance
from workbench.registry.labels import Label
from workbench.registry.model import Approval, Change, Kind, Model, Samples, Traits
from workbench.registry.model_import import import_model
from workbench.registry.onnx import Tensor, check_model
from workbench.registry.store import RegistryStore
from workbench.registry.user_traits import check_user_traits
from workbench.validation import (
    choose,
    flag,
    not_negative,
    of_kind,
    suggest,
    unicode_text,
    whole_number,
)

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Model", "Registry", "Samples"]

STAGE = "Development"
"""Where a version is in its life until somebody says another."""

_COLUMNS = {
    "group": str,
    "version": int,
    "approval": str,
    "stage": str,
    "task": str,
    "kind": str,
    "accuracy": float,
    "metric": str,
    "accuracy_data": str,
    "size_bytes": int,
    "framework": str,
    "opset": int,
    "input": str,
    "batch_invariance": str,
    "agreement": str,
    "created": str,
}
_HTML_COLUMNS = {
    "group": "group",
    "version": "version",
    "approval": "approval",
    "stage": "stage",
    "accuracy": "score",
    "metric": "metric",
    "batch_invariance": "batch invariance",
    "size_bytes": "size (bytes)",
    "input": "input",
    "agreement": "file and estimator",
}
_TAKEN = {*_COLUMNS, *(each.name for each in (*fields(Traits), *fields(Model))), "name", "batches"}
_REMOVED = "Removed"  # the last approval of a version that was taken out
_NOT_REMOVED = f"WHERE approval != '{_REMOVED}'"


@runtime_checkable
class ModelCloud(Protocol):
    """A cloud with a model registry of its own, such as `workbench.Cloud`."""

    def push_models(self, registry: "Registry", groups: Sequence[str] | None) -> list[str]:
        """Bring groups (None: all) there, and return the ARNs of their versions."""

    def pull_models(self, registry: "Registry", groups: Sequence[str] | None) -> list[Model]:
        """Bring groups (None: all) from there, and return their versions here."""


class Registry:
    """A directory of model groups and their versions.

    `registry["group"]` is the newest approved version, `registry["group:2"]` the second one,
    approved or not. Iterating gives the names of the groups.

    One that this process may only read can be read; what would change it raises a `StorageError`.

    Args:
        path: The directory, made by the first change; until then it reads as an empty registry.
            Without one it is `registry` in $WORKBENCH_HOME or in the user's data directory, and
            the ready-made models are trained on first use.
        progress: Called with a line of text before something slow, and where a model that is
            registered answers in another way in batches. By default that goes to stderr, and a bar
            tells how far the training of ready-made models is.
        clock: Gives the time that changes are stamped with.
        timeout: Seconds to wait for another process that is writing.

    Raises:
        StorageError: The directory is none, cannot be read, or holds another program's database.
        Damaged: The database is corrupt.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        progress: Callable[[str], object] | None = None,
        clock: Callable[[], datetime] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.path = as_path(path) if path is not None else home() / "registry"
        self._store = RegistryStore(self.path, not_negative("timeout", timeout, "seconds"))
        self._store.check()
        self._clock = clock or (lambda: datetime.now(UTC))
        self._progress = progress or (lambda _line: None)  # ready-made models: their record says it
        if path is None and self.writable:
            from workbench.registry import zoo  # trains models, which few processes need

            zoo.build(self, show=show_progress if progress is None else None, progress=progress)
        self._progress = progress or (lambda line: sys.stderr.write(f"{line}\n"))

    def with_timeout(self, timeout: float) -> "Registry":
        """Return the same registry, with other seconds to wait for another process."""
        same, seconds = copy.copy(self), not_negative("timeout", timeout, "seconds")
        same._store = RegistryStore(self.path, seconds)  # noqa: SLF001 - one of ours
        return same

    def __repr__(self) -> str:
        return f"Registry({str(self.path)!r}, {len(self)} groups)"

    def _repr_html_(self) -> str:
        models = self._models()
        user = _user_columns(models)
        columns = _HTML_COLUMNS | {name: name for name in user}
        rows = [[_row(each, user)[name] for name in columns] for each in models]
        return Table(list(columns.values()), rows, f"Models in {self.path}").html()

    def __getitem__(self, name: str) -> Model:
        group, colon, number = unicode_text("A model's name", name).partition(":")
        if colon:
            return self.version(group, int(number) if number.isdecimal() else number)
        versions = self.versions(group)
        approved = [each for each in versions if each.approval == "Approved"]
        if not approved:
            newest = versions[-1]
            raise NotFound(
                f"No version of {group!r} is approved; version {newest.version} is "
                f"{newest.approval}. Take it by name, registry[{newest.name!r}], or approve it: "
                f"registry.approve({group!r}, {newest.version}), or in a shell "
                f"workbench registry approve {newest.name} --registry {self.path}."
            )
        return approved[-1]

    def __contains__(self, group: object) -> bool:
        return group in self.groups()

    def __iter__(self) -> Iterator[str]:
        return iter(self.groups())

    def __len__(self) -> int:
        return len(self.groups())

    def groups(self, *, removed: bool = False) -> list[str]:
        """Return the names of the groups, sorted; with `removed` also those that are empty."""
        table = "versions" if flag("removed", removed) else f"models {_NOT_REMOVED}"
        with self._store.read() as database:
            rows = database.execute(f"SELECT DISTINCT group_name FROM {table} ORDER BY 1")  # noqa: S608 - ours
            return [name for (name,) in rows]

    def versions(self, group: str) -> list[Model]:
        """Return every version of a group, oldest first.

        Raises:
            NotFound: There is no such group.
        """
        versions = self._models("AND group_name = ?", unicode_text("group", group))
        if not versions:
            known = ", ".join(self.groups()) or "none yet"
            raise NotFound(
                f"No group {group!r}.{suggest(group, self)} Known: {known}. "
                f"The registry is {self.path}."
            )
        return versions

    def models(self) -> list[Model]:
        """Return the newest approved version of each group that has one."""
        newest = {each.group: each for each in self._models() if each.approval == "Approved"}
        return list(newest.values())

    def version(self, group: str, version: int | str) -> Model:
        """Return one version of a group, approved or not.

        Raises:
            NotFound: There is no such group or version.
        """
        versions = self.versions(group)
        for each in versions:
            if each.version == version:
                return each
        known = ", ".join(f"{each.version} ({each.approval})" for each in versions)
        raise NotFound(f"No version {version!r} of {group!r}. Known: {known}.")

    def history(self, group: str, version: int) -> list[Change]:
        """Return every change of a version's approval and stage, oldest first; also when removed.

        Raises:
            NotFound: There never was such a group or version.
        """
        whole_number("version", version, low=1)
        with self._store.read() as database:
            rows = database.execute(
                "SELECT at, who, field, value, why FROM history "
                "WHERE group_name = ? AND version = ? ORDER BY id",
                (unicode_text("group", group), version),
            )
            changes = [Change(*row) for row in rows]
        if not changes:
            self.version(group, version)
        return changes

    def table(self) -> "pl.DataFrame":
        """Return one row for each version of each group, with its traits, the user's own last.

        A column of those is of texts where versions have values of different types.
        """
        import polars as pl

        models = self._models()
        user = _user_columns(models)
        schema: dict[str, Any] = _COLUMNS | user
        return pl.DataFrame([_row(each, user) for each in models], schema=schema)

    def register(
        self,
        group: str,
        source: Any,  # noqa: ANN401 - a path, the bytes of an ONNX file, or any estimator
        *,
        estimator: Any = None,  # noqa: ANN401
        samples: Any = None,  # noqa: ANN401 - `Samples`, or what makes some
        task: str = "",
        kind: Kind | None = None,
        data: str = "",
        accuracy: float | None = None,
        framework: str = "",
        answer: Answer | None = None,
        output: str | None = None,
        constants: Mapping[str, Any] | None = None,
        batch_axes: Mapping[str, int] | None = None,
        free_batch: bool = False,
        traits: Mapping[str, Label] | None = None,
        lineage: dict[str, Any] | None = None,
        stage: str = STAGE,
        approval: Approval = "PendingManualApproval",
        who: str | None = None,
        why: str = "",
        seed: int = 0,
    ) -> Model:
        """Register the next version of a group, from an ONNX file or a fitted estimator.

        Args:
            group: Its name: letters, digits and inner hyphens, at most 63.
            source: Path of an ONNX file, its bytes, or a fitted scikit-learn estimator.
            estimator: The fitted estimator that a file was made of, by whatever converter, with
                scikit-learn's `predict`; the file's answers are compared with it.
            samples: Held-out rows: an array, a frame of Polars or pandas, columns by name, dicts.
                Without any, random ones are made, unless the model takes text.
            task: What the model is for, e.g. "digits".
            kind: From the estimator or the type of the first output when not given.
            data: Name of the data that the samples come from.
            accuracy: Taken as given when the samples have no targets, else measured here.
            framework: What the model was made with, where the file does not tell.
            answer: "probabilities" makes a classifier answer with those of all classes, so that it
                is known how sure it is, instead of what the file has first, the label mostly.
            output: Name of the output that answers, where a file has several: by default the first,
                unless that is a sequence, a map or one number for all rows.
            constants: Inputs of a file that are the same in every call, such as {"sr": 16000}; they
                are written into it. One number fills a whole input, and what has a batch of 1, such
                as a state at its start, is repeated for each row.
            batch_axes: The axis of the batch, counted from 0, of inputs and outputs of a file that
                have it elsewhere than first, such as {"state": 1}. Without a word it is the only
                axis of free size, or the one named as the first input's first.
            free_batch: Make the batch of a file free that is fixed at 1 row by declaration alone.
                Otherwise rows of such a file run one after the other. Either is compared with the
                file as it came, in batches of several sizes.
            traits: What else is to be known of it by name, such as {"licence": "MIT"}: texts of up
                to 256 characters, numbers, True or False.
            lineage: Data set, parameters, seed: anything that JSON can hold.
            stage: Where it is in its life: any name.
            approval: Its first approval.
            who: Who registers it, by default the user of this process.
            why: The reason kept in the history.
            seed: Of the random pool.

        Raises:
            NotFound: There is no such file.
            InvalidModel: The source is not a model the workbench can run, or the file answers
                otherwise than its estimator.
            InvalidInput: Another argument is not what it must be.
            StorageError: It could not be written; the registry is as before.
        """
        _check_group(group)
        _check_stage(stage)
        choose("approval", approval, get_args(Approval))
        user = check_user_traits(traits, _TAKEN)
        made = import_model(
            source,
            estimator=estimator,
            samples=samples,
            task=task,
            kind=kind,
            data=data,
            accuracy=accuracy,
            framework=framework,
            answer=answer,
            adaptation=Adaptation(
                output=output,
                constants=constants or {},
                batch_axes=batch_axes or {},
                free_batch=free_batch,
            ),
            seed=seed,
        )
        lineage = of_kind("lineage", {} if lineage is None else lineage, dict)
        found = environment()  # of the code that registers
        code = {"code_version": {"commit": found["commit"], **found["versions"]}}
        for note in filter(None, (*made.notes, made.traits.batch_caveat)):
            self._progress(f"{group}: {note}")
        return self._add(
            group,
            None,
            files=(made.content, made.pool),
            facts=(_json(asdict(replace(made.traits, user=user))), _json(code | lineage)),
            approval=self._new_change("approval", approval, who, why),
            stage=stage,
        )

    def restore(
        self,
        group: str,
        version: int,
        *,
        content: bytes,
        samples: bytes,
        facts: Mapping[str, Any],
        who: str | None = None,
        why: str = "",
    ) -> Model:
        """Adopt a version from another registry, with its number; its approval is pending.

        Args:
            group: Its name.
            version: Its number, which must be free.
            content: The ONNX file.
            samples: The file of the pool of samples.
            facts: Its "traits" and "lineage", as JSON values.
            who: Who restores it, by default the user of this process.
            why: The reason kept in the history.

        Raises:
            InvalidModel: The content is not a model the workbench can run.
            InvalidInput: The number is taken, or something is not what it must be.
            StorageError: It could not be written; the registry is as before.
        """
        _check_group(group)
        check_model(content)
        try:
            check_user_traits(_traits(dict(facts["traits"])).user, _TAKEN)
            kept = _json(facts["traits"]), _json(facts["lineage"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"These are not a version's traits and lineage: {error}.") from error
        return self._add(
            group,
            version,
            files=(content, samples),
            facts=kept,
            approval=self._new_change("approval", "PendingManualApproval", who, why),
            stage=STAGE,
        )

    def _add(
        self,
        group: str,
        version: int | None,
        *,
        files: tuple[bytes, bytes],
        facts: tuple[str, str],
        approval: Change,
        stage: str,
    ) -> Model:
        """Write a version, by default the next, with its first approval and stage."""
        with self._store.write() as database:
            query = "SELECT version FROM versions WHERE group_name = ?"
            taken = {number for (number,) in database.execute(query, (group,))}
            if version in taken:
                raise InvalidInput(f"There is a version {version} of {group!r} already.")
            number = version or max(taken, default=0) + 1
            hashes = self._store.keep(files[0], ".onnx"), self._store.keep(files[1], ".npz")
            database.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?)",
                (group, number, approval.at, *hashes, *facts),
            )
            _insert_change(database, group, number, approval)
            _insert_change(database, group, number, replace(approval, field="stage", value=stage))
        return self.version(group, number)

    def push(self, cloud: ModelCloud, *, groups: Sequence[str] | None = None) -> list[str]:
        """Push these groups' versions (by default all) to a cloud, and return their ARNs.

        See the cloud's `push_models`, which says what else may go wrong.

        Raises:
            InvalidInput: It is no cloud with models.
        """
        return _check_cloud(cloud).push_models(self, groups)

    def pull(self, cloud: ModelCloud, *, groups: Sequence[str] | None = None) -> list[Model]:
        """Pull the versions of these groups (by default all) from a cloud, and return them.

        Raises:
            InvalidInput: It is no cloud with models.
        """
        return _check_cloud(cloud).pull_models(self, groups)

    def approve(self, group: str, version: int, *, who: str | None = None, why: str = "") -> Model:
        """Approve a version; who, when and why are kept in its history."""
        return self.decide(group, version, "Approved", who=who, why=why)

    def reject(self, group: str, version: int, *, who: str | None = None, why: str = "") -> Model:
        """Reject a version; who, when and why are kept in its history."""
        return self.decide(group, version, "Rejected", who=who, why=why)

    def decide(
        self, group: str, version: int, approval: Approval, *, who: str | None = None, why: str = ""
    ) -> Model:
        """Set a version's approval; who, when and why are kept in its history."""
        choose("approval", approval, get_args(Approval))
        return self._change(group, version, self._new_change("approval", approval, who, why))

    def set_stage(
        self, group: str, version: int, stage: str, *, who: str | None = None, why: str = ""
    ) -> Model:
        """Set the stage of a version's life, e.g. "Production"."""
        _check_stage(stage)
        return self._change(group, version, self._new_change("stage", stage, who, why))

    def remove(self, group: str, version: int, *, who: str | None = None, why: str = "") -> None:
        """Take a version out; its history stays, and its number is never given again.

        Its files are deleted unless another version has them too.

        Raises:
            NotFound: There is no such group or version.
            StorageError: The registry cannot be written.
        """
        change = self._new_change("approval", _REMOVED, who, why)
        with self._store.write() as database:
            gone = self.version(group, version)
            _insert_change(database, group, version, change)
        # Only now, and under the lock again: a crash leaves a file too many, never one too few.
        with self._store.write():
            kept = {path for each in self._models() for path in each.files}
            for path in gone.files.keys() - kept:
                path.unlink(missing_ok=True)

    def verify(self) -> list[str]:
        """Return one sentence for each file that is missing or changed; empty when all is well.

        Raises:
            Damaged: The database is corrupt.
        """
        with self._store.read() as database:
            rows = database.execute("PRAGMA integrity_check")
            found = [f"registry.db: {text}" for (text,) in rows if text != "ok"]
        for model in self._models():
            for path, digest in model.files.items():
                try:
                    read_and_verify(path, digest, model.name)
                except Damaged as error:
                    found.append(str(error))
        return found

    def alone(self, timeout: float = 600.0) -> AbstractContextManager[None]:
        """Hold off every other process that asks the same of this registry, for long work."""
        return self._store.alone(timeout)

    @property
    def artifacts(self) -> Path:
        """The folder of the files."""
        return self._store.artifacts

    @property
    def writable(self) -> bool:
        """Whether this process may change the registry."""
        return self._store.writable

    def _models(self, where: str = "", *values: str) -> list[Model]:
        query = f"SELECT * FROM models {_NOT_REMOVED} {where} ORDER BY group_name, version"  # noqa: S608 - ours
        with self._store.read() as database:
            return [_model(row, self.artifacts) for row in database.execute(query, values)]

    def _change(self, group: str, version: int, change: Change) -> Model:
        with self._store.write() as database:
            self.version(group, version)  # under the lock, so that nobody removes it meanwhile
            _insert_change(database, group, version, change)
        return self.version(group, version)

    def _new_change(self, field: str, value: str, who: str | None, why: str) -> Change:
        at = self._clock().astimezone(UTC).isoformat(timespec="milliseconds")
        who = unicode_text("who", who or _user())
        return Change(at, who, field, value, unicode_text("why", why))


def _json(facts: dict[str, Any]) -> str:
    try:
        return json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"Traits and lineage must fit into JSON: {error}.") from error


def _model(row: tuple[Any, ...], artifacts: Path) -> Model:
    group, version, created, sha256, samples_sha256, traits, lineage, approval, stage = row
    return Model(
        group=group,
        version=version,
        approval=approval,
        stage=stage,
        created=created,
        traits=_traits(json.loads(traits)),
        lineage=json.loads(lineage),
        sha256=sha256,
        samples_sha256=samples_sha256,
        artifacts=artifacts,
    )


def _traits(facts: dict[str, Any]) -> Traits:
    values = {
        "input_schema": Tensor.from_dict(facts["input_schema"]),
        "output_schema": tuple(map(Tensor.from_dict, facts["output_schema"])),
        "agreement": read_agreement(facts.get("agreement")),
        "user": dict(facts.get("user") or {}),
        "classes": None if facts.get("classes") is None else tuple(facts["classes"]),
    }
    found = facts.get("batch_invariance")
    invariance = None if found is None else BatchInvariance.from_dict(found)
    return Traits(**facts | values | {"batch_invariance": invariance})


def _row(model: Model, user: Mapping[str, type]) -> dict[str, Any]:
    """Return the columns of a version, and those of users' traits in their types."""
    traits = model.traits
    shown = {
        "input": str(traits.input_schema),
        "batch_invariance": traits.batches,
        "agreement": str(traits.agreement or NOT_CHECKED),
    }
    facts = asdict(traits) | shown
    row = {name: facts[name] if name in facts else getattr(model, name) for name in _COLUMNS}
    given = traits.user
    return row | {name: kind(given[name]) if name in given else None for name, kind in user.items()}


def _user_columns(models: Sequence[Model]) -> dict[str, type]:
    """Return the type of each of the user's traits, by name."""
    kinds: dict[str, set[type]] = {}
    for model in models:
        for name, value in model.traits.user.items():
            kinds.setdefault(name, set()).add(type(value))
    mixed = {name: float if each == {int, float} else str for name, each in kinds.items()}
    single = {name: next(iter(each)) for name, each in kinds.items() if len(each) == 1}
    return {name: single.get(name, mixed[name]) for name in sorted(kinds)}


def _check_cloud(cloud: ModelCloud) -> ModelCloud:
    wanted = "a cloud with models, such as Cloud(...) or LocalCloud()"
    return of_kind("cloud", cloud, ModelCloud, wanted)


def _check_group(group: str) -> None:
    unicode_text("group", group)
    if not re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?", group):
        raise InvalidInput(
            "A group's name is 1 to 63 letters, digits and hyphens, with no hyphen at either end, "
            f"got {group!r}."
        )


def _check_stage(stage: str) -> None:
    if not 1 <= len(unicode_text("stage", stage)) <= 63:
        raise InvalidInput(f"A stage's name has 1 to 63 characters, got {stage!r}.")


def _insert_change(database: sqlite3.Connection, group: str, version: int, change: Change) -> None:
    row = (group, version, *astuple(change))
    database.execute("INSERT INTO history VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", row)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"
