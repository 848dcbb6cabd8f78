"""Model groups, their versions, who approved them and where they came from.

A registry is a directory: `registry.db` (SQLite) says what there is, `artifacts/` holds the files,
each named by its sha256. Facts of a version never change; approval and stage do, and every change
is a row of an append-only history. A file is stored before the row that names it, so a crash
leaves a whole version or none.
"""

import functools
import getpass
import hashlib
import html
import io
import json
import os
import pkgutil
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, astuple, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import (
    Damaged,
    InvalidInput,
    InvalidModel,
    InvocationError,
    NotFound,
    StorageError,
)
from workbench.onnx import Checked, Nan, Session, Tensor, check_model, from_estimator

if TYPE_CHECKING:
    import polars as pl

Approval = Literal["PendingManualApproval", "Approved", "Rejected"]
Kind = Literal["classification", "regression", "other"]

_METRICS = {"classification": "accuracy", "regression": "r2", "other": ""}
_APPLICATION = 0x57424D52  # marks the SQLite file as ours: "WBMR"
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE versions (
    group_name TEXT NOT NULL, version INTEGER NOT NULL, created TEXT NOT NULL,
    sha256 TEXT NOT NULL, samples_sha256 TEXT NOT NULL, traits TEXT NOT NULL, lineage TEXT NOT NULL,
    PRIMARY KEY (group_name, version)
) STRICT;
CREATE TABLE history (
    id INTEGER PRIMARY KEY, group_name TEXT NOT NULL, version INTEGER NOT NULL, at TEXT NOT NULL,
    who TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL, why TEXT NOT NULL,
    FOREIGN KEY (group_name, version) REFERENCES versions
) STRICT;
CREATE INDEX history_of ON history (group_name, version, field, id);
CREATE TRIGGER versions_stay BEFORE UPDATE ON versions BEGIN SELECT RAISE(ABORT, 'fixed'); END;
CREATE TRIGGER history_stays BEFORE UPDATE ON history BEGIN SELECT RAISE(ABORT, 'fixed'); END;
CREATE TRIGGER history_remains BEFORE DELETE ON history BEGIN SELECT RAISE(ABORT, 'fixed'); END;
CREATE VIEW models AS SELECT v.*,
    (SELECT value FROM history h WHERE h.group_name = v.group_name AND h.version = v.version
        AND field = 'approval' ORDER BY id DESC LIMIT 1) AS approval,
    (SELECT value FROM history h WHERE h.group_name = v.group_name AND h.version = v.version
        AND field = 'stage' ORDER BY id DESC LIMIT 1) AS stage
FROM versions v;
"""


@dataclass(frozen=True, eq=False)
class Samples:
    """A pool of rows that a model can be asked about, with the right answers where known.

    Args:
        inputs: Shape (n, *row), n at least 1, in the model's input type.
        targets: Shape (n,), or None.

    >>> Samples(np.zeros((3, 2), np.float32), np.array([0, 1, 1]))
    Samples(3 rows, with targets)
    """

    inputs: NDArray[Any]
    targets: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if self.inputs.ndim < 1 or not len(self.inputs):
            raise InvalidInput(f"Samples need at least 1 row, got shape {self.inputs.shape}.")
        if self.targets is not None and self.targets.shape != (len(self.inputs),):
            raise InvalidInput(
                f"targets must have shape ({len(self.inputs)},), one for each row, "
                f"got {self.targets.shape}."
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        return f"Samples({len(self)} rows, with{'' if self.targets is not None else 'out'} targets)"


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a version can do, as measured when it was registered.

    Attributes:
        task: What it is for, e.g. "digits".
        kind: "classification", "regression" or "other".
        input_schema: Name, type and row shape of the input.
        output_schema: The same of each output; the first is the answer.
        accuracy: Its figure in `metric`, None when unknown.
        metric: "accuracy" (share right) or "r2"; "" when unknown.
        accuracy_data: The data `accuracy` was measured on.
        samples: Where the pool of samples comes from.
        framework: What the model was made with.
        opset: ONNX operator set.
        size_bytes: Size of the ONNX file.
    """

    task: str
    kind: Kind
    input_schema: Tensor
    output_schema: tuple[Tensor, ...]
    accuracy: float | None
    metric: str
    accuracy_data: str
    samples: str
    framework: str
    opset: int
    size_bytes: int


@dataclass(frozen=True)
class Change:
    """One line of a version's history: `field` ("approval" or "stage") became `value`."""

    at: str
    who: str
    field: str
    value: str
    why: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Model:
    """One version of a group: a value that says what the registry knew when it was read."""

    group: str
    version: int
    approval: Approval
    stage: str
    created: str
    traits: Traits
    lineage: dict[str, Any] = field(hash=False)
    sha256: str
    samples_sha256: str
    artifacts: Path

    @property
    def name(self) -> str:
        """Group and version, as `registry[name]` takes it."""
        return f"{self.group}:{self.version}"

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return self.artifacts / f"{self.sha256}.onnx"

    @property
    def samples_path(self) -> Path:
        """The file of the pool of samples."""
        return self.artifacts / f"{self.samples_sha256}.npz"

    @property
    def size_bytes(self) -> int:
        """Size of the ONNX file."""
        return self.traits.size_bytes

    def __repr__(self) -> str:
        known = self.traits.accuracy is not None
        score = f", {self.traits.metric} {self.traits.accuracy:.3f}" if known else ""
        return f"Model({self.name}, {self.approval}{score}, {_bytes(self.size_bytes)})"

    def session(self, threads: int = 1, *, nan: Nan = "allow") -> Session:
        """The model loaded into ONNX Runtime, after a check of its file's hash.

        Raises:
            Damaged: The file is missing or is not what was registered.
        """
        _read_checked(self.path, self.sha256, self.name)
        return Session(self.path, threads=threads, nan=nan)

    def samples(self) -> Samples:
        """The pool of held-out samples (random ones where none were given: see the traits).

        Raises:
            Damaged: The file is missing or is not what was registered.
        """
        content = _read_checked(self.samples_path, self.samples_sha256, self.name)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return Samples(arrays["inputs"], arrays.get("targets"))

    def correct(self, outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Which rows a classifier got right; None for other models."""
        return correct(outputs, targets) if self.traits.kind == "classification" else None


class Registry:
    """A directory of model groups and their versions.

    `registry["group"]` is the newest approved version, `registry["group:2"]` the second one,
    approved or not. Iterating gives the names of the groups.

    Args:
        path: The directory, made where missing. Without one it is `registry` in $WORKBENCH_HOME
            or in the user's data directory, and the ready-made models are trained on first use.
        progress: Called with a line of text before something slow.
        clock: Gives the time that changes are stamped with.
        timeout: Seconds to wait for another process that is writing.

    Raises:
        StorageError: The directory cannot be written, or holds another program's database.
        Damaged: The database is corrupt.
    """

    #: What fills a registry without a path: above this layer, so found by name.
    ready_made = "workbench.zoo:build"

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        progress: Callable[[str], object] | None = None,
        clock: Callable[[], datetime] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.path = Path(path) if path is not None else _home() / "registry"
        self.artifacts = self.path / "artifacts"
        self._clock = clock or _now
        self._timeout = timeout
        self._prepare()
        if path is None:
            pkgutil.resolve_name(self.ready_made)(self, progress=progress or _announce)

    def __repr__(self) -> str:
        return f"Registry({str(self.path)!r}, {len(self)} groups)"

    def _repr_html_(self) -> str:
        rows = [_html_row(_HEADINGS, "th"), *(_html_row(_cells(m), "td") for m in self._all())]
        return f"<table>{''.join(rows)}</table>"

    def __getitem__(self, name: str) -> Model:
        group, colon, number = name.partition(":")
        if colon:
            return self.version(group, int(number) if number.isdecimal() else 0)
        versions = self.versions(group)
        approved = [each for each in versions if each.approval == "Approved"]
        if not approved:
            newest = versions[-1]
            raise NotFound(
                f"No version of {group!r} is approved; version {newest.version} is "
                f"{newest.approval}. Take it by name, registry[{newest.name!r}], or approve it: "
                f"registry.approve({group!r}, {newest.version})."
            )
        return approved[-1]

    def __contains__(self, group: object) -> bool:
        return group in self.groups()

    def __iter__(self) -> Iterator[str]:
        return iter(self.groups())

    def __len__(self) -> int:
        return len(self.groups())

    def groups(self) -> list[str]:
        """The names of the groups, sorted."""
        with self._reading() as database:
            rows = database.execute("SELECT DISTINCT group_name FROM versions ORDER BY 1")
            return [name for (name,) in rows]

    def versions(self, group: str) -> list[Model]:
        """Every version of a group, oldest first.

        Raises:
            NotFound: There is no such group.
        """
        versions = self._models("WHERE group_name = ?", group)
        if not versions:
            known = ", ".join(self.groups()) or "none yet"
            raise NotFound(f"No group {group!r}. Known: {known}.")
        return versions

    def version(self, group: str, version: int) -> Model:
        """One version of a group, approved or not.

        Raises:
            NotFound: There is no such group or version.
        """
        versions = self.versions(group)
        for each in versions:
            if each.version == version:
                return each
        known = ", ".join(f"{each.version} ({each.approval})" for each in versions)
        raise NotFound(f"No version {version} of {group!r}. Known: {known}.")

    def history(self, group: str, version: int) -> list[Change]:
        """Every change of a version's approval and stage, oldest first.

        Raises:
            NotFound: There is no such group or version.
        """
        self.version(group, version)
        with self._reading() as database:
            rows = database.execute(
                "SELECT at, who, field, value, why FROM history "
                "WHERE group_name = ? AND version = ? ORDER BY id",
                (group, version),
            )
            return [Change(*row) for row in rows]

    def table(self) -> "pl.DataFrame":
        """One row for each version of each group, with its traits."""
        import polars as pl

        return pl.DataFrame([_row(each) for each in self._all()], schema=_TABLE, orient="row")

    def register(
        self,
        group: str,
        source: Any,  # noqa: ANN401 - a path, the bytes of an ONNX file, or any estimator
        *,
        samples: Samples | ArrayLike | None = None,
        task: str = "",
        kind: Kind | None = None,
        data: str = "",
        accuracy: float | None = None,
        framework: str = "",
        lineage: dict[str, Any] | None = None,
        stage: str = "Development",
        approval: Approval = "PendingManualApproval",
        who: str | None = None,
        why: str = "",
        seed: int = 0,
    ) -> Model:
        """The next version of a group, made from an ONNX file or a fitted estimator.

        Args:
            group: Its name: letters, digits and inner hyphens, at most 63.
            source: Path of an ONNX file, its bytes, or a fitted scikit-learn estimator.
            samples: Held-out rows. Without any, a random pool that fits the signature is made.
            task: What the model is for, e.g. "digits".
            kind: Told by the estimator or by the type of the first output when not given.
            data: Name of the data that the samples come from.
            accuracy: Taken as given when the samples have no targets, else measured here.
            framework: What the model was made with, where the file does not tell.
            lineage: Data set, parameters, seed: anything that JSON can hold.
            stage: Where it is in its life: any name.
            approval: Its first approval.
            who: Who registers it, by default the user of this process.
            why: The reason kept in the history.
            seed: Of the random pool.

        Raises:
            NotFound: There is no such file.
            InvalidModel: The source is not a model the workbench can run.
            InvalidInput: Another argument is not what it must be.
            StorageError: It could not be written; the registry is as before.
        """
        _check_group(group)
        _check_approval(approval)
        checked, kind, framework = _take(source, samples, kind, framework)
        pool, origin = _pool(samples, checked.signature.input, data, seed)
        measured = _trial(checked, pool, kind)
        score = accuracy if measured is None else measured
        traits = Traits(
            task=task,
            kind=kind,
            input_schema=checked.signature.input,
            output_schema=checked.signature.outputs,
            accuracy=score,
            metric=_METRICS[kind] if score is not None else "",
            accuracy_data=(data if measured is None else origin) if score is not None else "",
            samples=origin,
            framework=framework,
            opset=checked.opset,
            size_bytes=len(checked.content),
        )
        facts = _json(asdict(traits)), _json(_lineage(lineage))
        entry = functools.partial(self._entry, who=who, why=why)
        changes = entry("approval", approval), entry("stage", stage)
        with self._writing() as database:
            version = _next_version(database, group)
            hashes = self._store(checked.content, ".onnx"), self._store(_npz(pool), ".npz")
            database.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?)",
                (group, version, self._stamp(), *hashes, *facts),
            )
            for change in changes:
                _note(database, group, version, change)
        return self.version(group, version)

    def approve(self, group: str, version: int, *, who: str | None = None, why: str = "") -> Model:
        """The version, now approved; who, when and why are kept in its history."""
        return self._change(group, version, self._entry("approval", "Approved", who, why))

    def reject(self, group: str, version: int, *, who: str | None = None, why: str = "") -> Model:
        """The version, now rejected; who, when and why are kept in its history."""
        return self._change(group, version, self._entry("approval", "Rejected", who, why))

    def set_stage(
        self, group: str, version: int, stage: str, *, who: str | None = None, why: str = ""
    ) -> Model:
        """The version, now at another stage of its life, e.g. "Production"."""
        return self._change(group, version, self._entry("stage", stage, who, why))

    def verify(self) -> list[str]:
        """One sentence for each file that is missing or changed, and for a corrupt database."""
        with self._reading() as database:
            found = [text for (text,) in database.execute("PRAGMA integrity_check") if text != "ok"]
        for model in self._all():
            for path, sha256 in (
                (model.path, model.sha256),
                (model.samples_path, model.samples_sha256),
            ):
                try:
                    _read_checked(path, sha256, model.name)
                except Damaged as error:
                    found.append(str(error))
        return found

    @contextmanager
    def alone(self, timeout: float = 600.0) -> Iterator[None]:
        """Hold off every other process that asks the same of this registry, for long work."""
        # SQLite's lock on a file of its own: the system lets go of it when the process dies.
        with _storage(self.path), closing(_connect(self.path / "alone.lock", timeout)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            yield

    def _prepare(self) -> None:
        with _storage(self.path):
            self.artifacts.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as database:
                _create(database)

    def _connect(self) -> sqlite3.Connection:
        return _connect(self.path / "registry.db", self._timeout)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _storage(self.path), closing(self._connect()) as database:
            yield database

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the registry's only write lock; leaving early undoes it."""
        with self._reading() as database:
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")

    def _all(self) -> list[Model]:
        return self._models("")

    def _models(self, where: str, *values: str) -> list[Model]:
        query = f"SELECT * FROM models {where} ORDER BY group_name, version"  # noqa: S608 - ours
        with self._reading() as database:
            return [_model(row, self.artifacts) for row in database.execute(query, values)]

    def _change(self, group: str, version: int, change: Change) -> Model:
        self.version(group, version)
        with self._writing() as database:
            _note(database, group, version, change)
        return self.version(group, version)

    def _entry(self, field: str, value: str, who: str | None, why: str) -> Change:
        return Change(self._stamp(), who or _user(), field, value, why)

    def _stamp(self) -> str:
        return self._clock().astimezone(UTC).isoformat(timespec="milliseconds")

    def _store(self, content: bytes, suffix: str) -> str:
        """The sha256 of a file that is now among the artifacts, whole and on the disk."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.artifacts / f"{digest}{suffix}"
        if path.exists() and _digest(path) == digest:
            return digest
        # One name is enough, as the write lock is held; what a crash leaves is overwritten.
        incoming = self.artifacts / "incoming"
        try:
            with incoming.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            incoming.replace(path)
        except OSError:
            with suppress(OSError):
                incoming.unlink(missing_ok=True)
            raise
        _sync_directory(self.artifacts)
        return digest


def correct(outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows are predicted right: equal labels, or the largest of several scores a row.

    >>> correct(np.array([3, 1]), np.array([3, 2]))
    array([ True, False])
    """
    scores = outputs.ndim == 2 and outputs.shape[1] > 1
    labels = outputs.argmax(axis=1) if scores else outputs.reshape(-1)
    return np.asarray(labels == targets)


def _take(
    source: Any,  # noqa: ANN401
    samples: Samples | ArrayLike | None,
    kind: Kind | None,
    framework: str,
) -> tuple[Checked, Kind, str]:
    """The checked content of a source, its kind, and what it was made with."""
    if isinstance(source, str | Path | bytes):
        checked = check_model(source)
        return checked, kind or _guess_kind(checked), framework or checked.producer or "unknown"
    if not hasattr(source, "predict"):
        raise InvalidModel(
            f"A {type(source).__name__} cannot be registered: give the path or the bytes of an "
            "ONNX file, or a fitted scikit-learn estimator."
        )
    from sklearn import __version__
    from sklearn.base import is_classifier, is_regressor

    rows = samples.inputs if isinstance(samples, Samples) else samples
    checked = check_model(from_estimator(source, None if rows is None else np.asarray(rows)))
    told: Kind = (
        "classification"
        if is_classifier(source)
        else "regression"
        if is_regressor(source)
        else "other"
    )
    return checked, kind or told, framework or f"scikit-learn {__version__}"


def _guess_kind(checked: Checked) -> Kind:
    """Integers or text, one a row, are labels; one float a row is a value."""
    answer = checked.signature.outputs[0]
    if answer.shape not in ((), (1,)):
        return "other"
    return "regression" if answer.dtype.startswith("float") else "classification"


def _pool(
    samples: Samples | ArrayLike | None, wanted: Tensor, data: str, seed: int
) -> tuple[Samples, str]:
    """A pool in the model's own input type, and where it comes from."""
    if samples is None:
        return _random_pool(wanted, seed), f"random, seed {seed}"
    given = samples if isinstance(samples, Samples) else Samples(np.asarray(samples))
    targets = given.targets
    if targets is not None and targets.dtype.kind == "O":  # text labels, e.g. out of a frame
        targets = targets.astype(str)
    pool = Samples(np.ascontiguousarray(given.inputs, wanted.dtype), targets)
    return pool, f"{len(pool)} held-out rows of {data or 'data given by the user'}"


def _random_pool(wanted: Tensor, seed: int) -> Samples:
    if None in wanted.shape:
        raise InvalidInput(f"The model takes {wanted}: give samples, as rows can have any size.")
    row = tuple(size or 0 for size in wanted.shape)
    dtype = np.dtype(wanted.dtype)
    rows = int(np.clip(2**24 // max(1, dtype.itemsize * int(np.prod(row))), 8, 256))
    rng = np.random.default_rng(seed)
    # Whole numbers are often indices, where only small ones are sure to be valid.
    draw = rng.normal if dtype.kind == "f" else lambda size: rng.integers(0, 2, size=size)
    return Samples(draw(size=(rows, *row)).astype(dtype))


def _trial(checked: Checked, pool: Samples, kind: Kind) -> float | None:
    """Prove that the model answers its samples, and measure how well where that is known."""
    session = Session(checked.content)
    count = 2 if pool.targets is None or kind == "other" else len(pool)
    try:
        answers = [session.run(pool.inputs[at : at + 32]) for at in range(0, count, 32)]
    except (InvocationError, InvalidInput) as error:
        raise InvalidModel(f"The model does not run on its samples: {error}") from error
    outputs = np.concatenate(answers)
    rows = min(len(pool), -(-count // 32) * 32)
    if len(outputs) != rows:
        raise InvalidModel(
            f"The model answers {rows} rows with {len(outputs)}: its batch axis is fixed inside. "
            "Export it again with a dynamic batch axis throughout."
        )
    if pool.targets is None or kind == "other":
        return None
    if kind == "classification":
        return float(correct(outputs, pool.targets).mean())
    return _r2(outputs.reshape(-1), pool.targets)


def _r2(values: NDArray[Any], targets: NDArray[Any]) -> float:
    """Share of the targets' variance that is explained, at most 1."""
    return float(1 - np.sum((targets - values) ** 2) / np.sum((targets - targets.mean()) ** 2))


def _npz(pool: Samples) -> bytes:
    arrays = {"inputs": pool.inputs}
    if pool.targets is not None:
        arrays["targets"] = pool.targets
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _lineage(given: dict[str, Any] | None) -> dict[str, Any]:
    return {"code_version": f"inference-workbench {installed('inference-workbench')}"} | (
        given or {}
    )


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
    tensors = {
        "input_schema": _tensor(facts["input_schema"]),
        "output_schema": tuple(_tensor(each) for each in facts["output_schema"]),
    }
    return Traits(**facts | tensors)


def _tensor(facts: dict[str, Any]) -> Tensor:
    return Tensor(facts["name"], facts["dtype"], tuple(facts["shape"]))


_HEADINGS = ["model", "approval", "stage", "task", "score", "size", "framework"]
_TABLE = [
    *("group", "version", "approval", "stage", "task", "kind", "accuracy", "metric"),
    *("accuracy_data", "size_bytes", "framework", "opset", "input", "created"),
]


def _row(model: Model) -> tuple[Any, ...]:
    traits = model.traits
    return (
        *(model.group, model.version, model.approval, model.stage, traits.task, traits.kind),
        *(traits.accuracy, traits.metric, traits.accuracy_data, traits.size_bytes),
        *(traits.framework, traits.opset, str(traits.input_schema), model.created),
    )


def _cells(model: Model) -> list[str]:
    traits = model.traits
    score = "" if traits.accuracy is None else f"{traits.metric} {traits.accuracy:.3f}"
    size = _bytes(traits.size_bytes)
    return [model.name, model.approval, model.stage, traits.task, score, size, traits.framework]


def _html_row(cells: list[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def _check_group(group: str) -> None:
    if not re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?", group):
        raise InvalidInput(
            "A group's name is 1 to 63 letters, digits and hyphens, with no hyphen at either end, "
            f"got {group!r}."
        )


def _check_approval(approval: str) -> None:
    if approval not in get_args(Approval):
        raise InvalidInput(f"approval must be one of {get_args(Approval)}, got {approval!r}.")


def _next_version(database: sqlite3.Connection, group: str) -> int:
    newest = "SELECT COALESCE(MAX(version), 0) + 1 FROM versions WHERE group_name = ?"
    return int(database.execute(newest, (group,)).fetchone()[0])


def _note(database: sqlite3.Connection, group: str, version: int, change: Change) -> None:
    row = (group, version, *astuple(change))
    database.execute("INSERT INTO history VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", row)


def _connect(path: Path, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=timeout, isolation_level=None)


def _create(database: sqlite3.Connection) -> None:
    """Make an empty database ours, and refuse one that is another's."""
    if _pragma(database, "application_id") != _APPLICATION:
        database.execute("BEGIN IMMEDIATE")
        if _pragma(database, "application_id") != _APPLICATION:
            _refuse_foreign(database)
            for statement in _statements(_SCHEMA):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        database.execute("COMMIT")
    if _pragma(database, "user_version") > _SCHEMA_VERSION:
        raise StorageError("The registry was made by a newer workbench; update this one.")
    # Fails while another process is in there for the first time too; that one switches it.
    with suppress(sqlite3.OperationalError):
        database.execute("PRAGMA journal_mode = WAL")


def _refuse_foreign(database: sqlite3.Connection) -> None:
    if database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        raise StorageError("registry.db belongs to another program; choose another directory.")


def _statements(script: str) -> Iterator[str]:
    """Statements one by one, because `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into the workbench's own errors."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _translated(error, path) from error
    except StorageError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"The registry in {path} cannot be used: {reason}.") from error


def _translated(error: sqlite3.DatabaseError, path: Path) -> StorageError:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StorageError(
            f"Another process is writing to the registry in {path} and did not finish in time; "
            "try again."
        )
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return Damaged(
            f"{path / 'registry.db'} is not a sound database ({error}); restore it from a copy, "
            "or move it away to start anew."
        )
    return StorageError(f"The registry in {path} cannot be used: {error}.")


def _read_checked(path: Path, sha256: str, name: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Damaged(f"{name}: {path} cannot be read: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Damaged(f"{name}: {path} is not what was registered; register the model again.")
    return content


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _home() -> Path:
    from platformdirs import user_data_path

    told = os.environ.get("WORKBENCH_HOME")
    return Path(told) if told else user_data_path("inference-workbench")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"


def _now() -> datetime:
    return datetime.now(UTC)


def _announce(line: str) -> None:
    sys.stderr.write(f"{line}\n")
