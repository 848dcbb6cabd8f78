"""ONNX models: their signature, what makes one acceptable, and a session that runs batches.

A model's inputs are numbers or texts whose first axis is the batch, and it answers with as many
rows. A batch of several inputs is a structured array: a field for each.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput, InvalidModel, InvocationError, NotFound
from workbench.files import as_path
from workbench.modelserver.inputs import NUMBERS
from workbench.registry.external_weights import take_weights_in
from workbench.validation import require_rows, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import onnxruntime

    from workbench.modelserver.formats import Reader
    from workbench.registry.adaptation import Adapted


# Since 1.29 ONNX Runtime reports its use to its makers, unless a variable set before forbids it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

Nan = Literal["allow", "refuse"]

_DTYPES = NUMBERS | {"tensor(string)": "str"}

OTHER_MEANS = (
    "Use another estimator, or convert it by other means and register the file with estimator=."
)
"""What is to be done where skl2onnx makes no file of an estimator, or another model."""

_RECORD = "record"
_SHOWN = 8  # inputs of a record that are named where it is printed

_PICKLES = {".pkl", ".pickle", ".joblib", ".cloudpickle"}


@dataclass(frozen=True)
class Tensor:
    """One input or output: its name, NumPy dtype and the shape of one row (None: any size).

    Text has the dtype "str". What a model of several inputs takes is one tensor without a name, of
    the dtype "record", whose `fields` are the inputs. `columns` names the values of a row, in
    their order, where the model was registered with columns that have names.

    >>> print(Tensor("input", "float32", (64,)))
    input: float32 (batch, 64)
    >>> print(Tensor.record([Tensor("age", "float32", ()), Tensor("city", "str", ())]))
    age: float32 (batch), city: str (batch)
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    fields: tuple["Tensor", ...] = ()
    columns: tuple[str, ...] = ()

    @classmethod
    def record(cls, fields: "Iterable[Tensor]") -> "Tensor":
        """Return what a model of several inputs takes."""
        return cls("", _RECORD, (), tuple(fields))

    @classmethod
    def from_dict(cls, facts: "Mapping[str, Any]") -> "Tensor":
        """Return what `asdict` described; those of former versions have no fields."""
        fields = tuple(cls.from_dict(each) for each in facts.get("fields", ()))
        dtype = _DTYPES.get(facts["dtype"], facts["dtype"])  # text was named as ONNX names it
        columns = tuple(facts.get("columns", ()))
        return cls(facts["name"], dtype, tuple(facts["shape"]), fields, columns)

    def order(self, names: "Sequence[str]") -> "Sequence[str]":
        """Return which of a table's columns the model takes, in its own order.

        Columns of which it knows none are taken as they stand, as those of a file without a header.

        Raises:
            InvalidInput: There are some of its columns, and not all.

        >>> Tensor("input", "float32", (2,), columns=("age", "pay")).order(["id", "pay", "age"])
        ('age', 'pay')
        """
        lacking = [name for name in self.columns if name not in names]
        if lacking and len(lacking) < len(self.columns):
            raise InvalidInput(
                f"There are no columns {lacking} among {list(names)}; the model takes "
                f"{list(self.columns)}, as {self}."
            )
        return names if lacking else self.columns or names

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Type of the values: of text "U", of a record a structured one.

        Widths of text are those of the data (`holds` compares types); within a record this one has
        texts of 1 letter, which NumPy needs, and 1 for an axis of any size.
        """
        if self.fields:
            kinds = ["U1" if each.dtype == "str" else each.numpy_dtype for each in self.fields]
            shapes = [tuple(size or 1 for size in each.shape) for each in self.fields]
            names = [each.name for each in self.fields]
            return np.dtype(list(zip(names, kinds, shapes, strict=True)))
        return np.dtype("U" if self.dtype == "str" else self.dtype)

    def __str__(self) -> str:
        if self.fields:
            more = len(self.fields) - _SHOWN
            named = ", ".join(map(str, self.fields[:_SHOWN]))
            return f"{named} and {more} more" if more > 0 else named
        axes = ", ".join(["batch", *("any" if size is None else str(size) for size in self.shape)])
        return f"{self.name}: {self.dtype} ({axes})"

    def fits(self, batch: NDArray[Any]) -> bool:
        """Return whether the rows of a batch have this shape, and of a record its fields."""
        if self.fields:
            return (
                batch.ndim == 1
                and batch.dtype.names == tuple(each.name for each in self.fields)
                and all(each.fits(batch[each.name]) for each in self.fields)
            )
        return batch.ndim == 1 + len(self.shape) and all(
            want in (None, got) for got, want in zip(batch.shape[1:], self.shape, strict=True)
        )

    def make_reader(self, *, gaps: bool = False) -> "Reader":
        """Return what reads the bodies of requests to a model that takes this, as its server does.

        With `gaps` a value may be missing: then it is NaN, or an empty text.
        """
        from workbench.modelserver.inputs import TEXT, ModelInput
        from workbench.modelserver.records import make_reader

        inputs = []
        for each in self.fields or (self,):
            kind = TEXT if each.dtype == "str" else each.numpy_dtype
            inputs.append(ModelInput(each.name, kind, each.shape, each.shape, gaps))
        return make_reader(inputs)

    def holds(self, dtype: np.dtype[Any]) -> bool:
        """Return whether values of a type are of this one; text may have any width."""
        if self.fields:
            return dtype.names == tuple(each.name for each in self.fields) and all(
                each.holds(dtype[each.name].base) for each in self.fields
            )
        return dtype.kind == "U" if self.dtype == "str" else dtype == self.numpy_dtype


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives; the first output is its answer."""

    input: Tensor
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class CheckedModel:
    """An ONNX file that passed every check, and what it says about itself."""

    content: bytes
    signature: Signature
    producer: str
    opset: int
    adapted: "Adapted | None" = None


class Session:
    """A model loaded into ONNX Runtime on the CPU, with a set number of threads.

    Args:
        source: Path of an ONNX file, or its bytes.
        threads: Threads that share the work of one batch.
        nan: "refuse" makes a NaN in a batch an error; it costs one pass over the batch.
        optimise: Whether ONNX Runtime may put other operators in the place of the file's.

    Raises:
        NotFound: There is no such file.
        InvalidModel: The file is not a model that the workbench can run.
        InvalidInput: `threads` or `nan` is not what it must be.
    """

    def __init__(
        self,
        source: str | Path | bytes,
        *,
        threads: int = 1,
        nan: Nan = "allow",
        optimise: bool = True,
    ) -> None:
        whole_number("threads", threads, low=1)
        if nan not in ("allow", "refuse"):
            raise InvalidInput(f'nan must be "allow" or "refuse", got {nan!r}.')
        self.threads = threads
        self.nan = nan
        self._session = open_runtime(source, threads, optimise=optimise)
        self.signature = _signature(self._session)
        # What `run` needs at every call, looked up once.
        self._run = self._session.run
        self._feed = _choose_feed(self._session, self.signature.input)
        self._first = [self.signature.outputs[0].name]
        self._dtype = self.signature.input.numpy_dtype
        self._row = self.signature.input.shape
        self._refuse_nan = nan == "refuse" and self._dtype.kind in "fV"

    def __repr__(self) -> str:
        return f"Session({self.signature.input}, threads={self.threads})"

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Return the first output for a batch (n, *row): labels of a classifier, else values.

        Of a model of several inputs the batch is a structured array (n,), as `as_rows` makes it.

        Raises:
            InvalidInput: The batch has another type or shape, no rows, or a NaN that is refused.
            InvocationError: ONNX Runtime failed while it ran the model.
            RowMismatch: The answers are not one a row.
        """
        self._check(batch)
        return require_rows(self._answer(self._first, batch)[0], len(batch))

    def run_all(self, batch: NDArray[Any]) -> dict[str, Any]:
        """Return every output by name; raises what `run` raises."""
        self._check(batch)
        names = [output.name for output in self.signature.outputs]
        outputs = self._answer(names, batch)
        require_rows(outputs[0], len(batch))
        return dict(zip(names, outputs, strict=True))

    def _answer(self, names: list[str], batch: NDArray[Any]) -> list[Any]:
        run, feed = self._run, self._feed
        try:
            return run(names, feed(batch))  # type: ignore[no-any-return]
        except Exception as error:
            from workbench.modelserver.failures import explain_failure

            name = self.signature.input.name
            said = explain_failure(error, lambda rows: run(names, feed(rows)), batch, name)
            raise InvocationError(f"ONNX Runtime could not run the model: {said}") from error

    def list_undeclared(self, batch: NDArray[Any]) -> list[str]:
        """Return a sentence for each output that is not what the file declares; see `run_all`."""
        given = self.run_all(batch)
        described = {
            name: f"{value.dtype} of shape {value.shape}"
            if isinstance(value, np.ndarray)  # else what stands for a sequence
            else f"a {type(value).__name__}"
            for name, value in given.items()
        }
        return [
            f"{each.name!r} is declared {each.type} of shape {each.shape}, and gives "
            f"{described[each.name]} for {len(batch)} rows."
            for each in self._session.get_outputs()
            if not _is_declared(given[each.name], each.type, each.shape)
        ]

    def _check(self, batch: NDArray[Any]) -> None:
        if (
            not isinstance(batch, np.ndarray)
            or batch.dtype != self._dtype
            or batch.shape[1:] != self._row
            or not batch.ndim
            or not len(batch)
        ):
            self._explain(batch)
        if self._refuse_nan:
            self._check_nan(batch)

    def _check_nan(self, batch: NDArray[Any]) -> None:
        for name in batch.dtype.names or [""]:
            values = batch[name] if name else batch
            if values.dtype.kind == "f" and np.isnan(values.min(initial=np.inf)):
                where = f"Column {name!r} of the batch" if name else "The batch"
                raise InvalidInput(f'{where} holds NaN; replace it, or open with nan="allow".')

    def _explain(self, batch: NDArray[Any]) -> None:
        """Raise what is wrong with a batch, unless only a free axis made it look wrong."""
        taken = self.signature.input
        wanted = f"the model takes {taken}"
        if not isinstance(batch, np.ndarray):
            raise InvalidInput(f"A batch must be a NumPy array, got {type(batch).__name__}.")
        if not taken.holds(batch.dtype):
            how = f"batch.astype({taken.dtype!r})"
            if taken.fields or taken.dtype == "str":
                how = "as_rows(session.signature.input, rows) of workbench.registry.rows"
            raise InvalidInput(f"The batch is {batch.dtype}, {wanted}: convert it with {how}.")
        if not taken.fits(batch):
            raise InvalidInput(f"The batch has shape {batch.shape}, {wanted}.")
        if not len(batch):
            raise InvalidInput("The batch has no rows; it needs at least 1.")


def read_signature(source: str | Path | bytes) -> Signature:
    """Return what the model in an ONNX file takes and gives.

    Raises:
        NotFound: There is no such file.
        InvalidModel: The file is not a model that the workbench can run.
    """
    return _signature(open_runtime(source, threads=1))


def check_model(
    source: str | Path | bytes, adapt: "Callable[[Any, bytes], Adapted] | None" = None
) -> CheckedModel:
    """Return the content of an ONNX file that onnx's checker and ONNX Runtime both accept.

    Args:
        source: Path of an ONNX file, or its bytes.
        adapt: Changes a parsed model that the checker accepts, given its content, too.

    Raises:
        NotFound: There is no such file.
        InvalidModel: The file is a pickle, truncated, not ONNX, lacks weights in other files, or
            its inputs are not numbers or texts with a dynamic batch axis.
    """
    content = source if isinstance(source, bytes) else _read(as_path(source))
    name = "The model" if isinstance(source, bytes) else str(source)
    folder = None if isinstance(source, bytes) else Path(source).parent
    proto, content = _parse(content, name, folder)
    opsets = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    adapted = None if adapt is None else adapt(proto, content)
    content = content if adapted is None else adapted.content
    return CheckedModel(
        content=content,
        signature=read_signature(content),
        producer=f"{proto.producer_name} {proto.producer_version}".strip(),
        opset=max(opsets, default=0),
        adapted=adapted,
    )


def _read(path: Path) -> bytes:
    if path.suffix.lower() in _PICKLES:
        raise InvalidModel(
            f"{path} is a pickle, and loading a pickle runs whatever code it holds: it is never "
            "loaded from a path. Register an ONNX file, or in Python the estimator itself: "
            "wb.Registry(folder).register(group, estimator, samples=wb.Samples(rows, answers))."
        )
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.") from error
    except OSError as error:
        raise InvalidModel(f"{path} cannot be read: {error.strerror}.") from error


def _parse(content: bytes, name: str, folder: Path | None) -> tuple[Any, bytes]:
    """Return a checked model, and the content of the file with its weights."""
    import onnx

    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:
        raise InvalidModel(f"{name} is not ONNX, or was cut short: {error}.") from error
    if not proto.HasField("graph"):
        raise InvalidModel(f"{name} is not ONNX: it holds no graph.")
    if any(onnx.external_data_helper.uses_external_data(each) for each in _tensors(proto)):
        take_weights_in(proto, folder, name)
        content = proto.SerializeToString()
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise InvalidModel(f"{name} fails onnx's checker: {error}") from error
    return proto, content


def _tensors(message: Any) -> "Iterator[Any]":  # noqa: ANN401
    """Return every tensor anywhere in a protobuf message: subgraphs and functions hold some too."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for child in value if field.is_repeated else [value]:
            if child.DESCRIPTOR.name == "TensorProto":
                yield child
            else:
                yield from _tensors(child)


def open_runtime(
    source: str | Path | bytes, threads: int = 1, *, optimise: bool = True
) -> "onnxruntime.InferenceSession":
    """Return a session of ONNX Runtime alone; raises what `Session` does of a file."""
    import onnxruntime

    if not isinstance(source, bytes) and not as_path(source).is_file():
        raise NotFound(f"There is no file {source}.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # errors come as exceptions; the log would say them twice
    # Threads that spin while they wait want every core to themselves. On two cores with a busy
    # neighbour, two-thread batches had a p99 1.3 to 1.8 times as long with spinning as without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    given = source if isinstance(source, bytes) else str(source)
    try:
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        name = "the model" if isinstance(source, bytes) else source
        cure = " It lacks some operators of bfloat16 and others: use float16 or float32."
        said = f"{error}{cure * ('NOT_IMPLEMENTED' in str(error))}"
        raise InvalidModel(f"ONNX Runtime cannot load {name}: {said}") from error


def _signature(session: "onnxruntime.InferenceSession") -> Signature:
    given = [(each.name, each.type, each.shape) for each in session.get_inputs()]
    if not given:
        raise InvalidModel("A model must have an input, this one has none.")
    for each in given:
        _check_input(*each)
    outputs = tuple(_tensor(each.name, each.type, each.shape) for each in session.get_outputs())
    if not outputs:
        raise InvalidModel("A model must have an output, this one has none.")
    if outputs[0].dtype not in _DTYPES.values():
        raise InvalidModel(
            f"The first output, {outputs[0].name!r}, is a {outputs[0].dtype}; a tensor of numbers "
            "or texts is wanted, as it is the model's answer. Make the file without maps (in "
            'skl2onnx: options={"zipmap": False}), or with such a tensor as its first output.'
        )
    inputs = [_tensor(*each) for each in given]
    if len(inputs) == 1 and inputs[0].dtype != "str":
        return Signature(inputs[0], outputs)
    # The columns of a frame, as skl2onnx has them, are values to a user, not rows of one value.
    columns = [replace(each, shape=()) if each.shape == (1,) else each for each in inputs]
    return Signature(columns[0] if len(columns) == 1 else Tensor.record(columns), outputs)


def _check_input(name: str, kind: str, shape: list[int | str | None]) -> None:
    if kind not in _DTYPES:
        raise InvalidModel(f"Input {name!r} is a {kind}; a tensor of numbers or texts is wanted.")
    constant = f"constants={{{name!r}: ...}} if it is the same for all rows"
    if not shape:
        raise InvalidModel(
            f"Input {name!r} is one value, without rows: register it with {constant}."
        )
    if isinstance(shape[0], int):
        raise InvalidModel(
            f"Input {name!r} has the fixed shape {shape}, and its first axis must be dynamic to "
            f"take batches. Register it with {constant}, or with batch_axes={{{name!r}: 1}} if "
            "rows are along another axis; else make the file with its first axis free: "
            f"torch.onnx.export(..., dynamic_axes={{{name!r}: {{0: 'batch'}}}}), or "
            "FloatTensorType([None, columns]) in skl2onnx."
        )


def _choose_feed(
    session: "onnxruntime.InferenceSession", taken: Tensor
) -> "Callable[[NDArray[Any]], dict[str, NDArray[Any]]]":
    """Return what makes ONNX Runtime's inputs of a batch."""
    ranks = {each.name: len(each.shape) for each in session.get_inputs()}
    if not taken.fields and len(taken.shape) + 1 == ranks[taken.name]:
        return lambda batch: {taken.name: batch}
    deep = {each.name: len(each.shape) + 1 < ranks[each.name] for each in taken.fields or [taken]}

    def split(batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {
            name: np.ascontiguousarray(values[:, None] if deep[name] else values)
            for name, values in ((name, batch[name] if taken.fields else batch) for name in deep)
        }

    return split


def _tensor(name: str, kind: str, shape: list[int | str | None]) -> Tensor:
    row = tuple(size if isinstance(size, int) else None for size in shape[1:])
    return Tensor(name, _DTYPES.get(kind, kind), row)


def _is_declared(value: Any, kind: str, shape: list[int | str | None]) -> bool:  # noqa: ANN401
    """Return whether an output has its declared type, and axes where any are declared."""
    if not isinstance(value, np.ndarray):
        return not kind.startswith("tensor(")
    axes = zip(shape, value.shape, strict=False)
    return (
        {"str": "object"}.get(_DTYPES.get(kind, "object"), _DTYPES.get(kind)) == value.dtype.name
        and len(shape) in (0, value.ndim)
        and all(want == got for want, got in axes if isinstance(want, int))
    )
