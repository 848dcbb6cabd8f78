"""The model of a folder, loaded into ONNX Runtime."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from workbench.modelserver.failures import explain_failure
from workbench.modelserver.inputs import NUMBERS, TEXT, ModelInput

MODEL_FILE = "model.onnx"
_FACTS_FILE = "model.json"  # what the registry knew of the model, in an archive that it packed

_NOT_CHECKED = "not checked"
_DTYPES = NUMBERS | {"tensor(string)": "object"}


class ModelLoadError(Exception):
    """The folder holds no model that can be served."""


class Engine:
    """A model that answers batches with its first output.

    `inputs` are what it takes: batches for one of numbers are arrays of its type, for one text
    arrays of texts, for several inputs arrays of records. `batch_invariance` is what the registry
    knows of rows together, and `invariant` whether they are answered as alone.

    Raises:
        ModelLoadError: There is no ONNX file whose inputs are numbers and texts with a free first
            axis.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self._session = _open(folder, threads)
        facts = _read_facts(folder)
        self.batch_invariance = str(facts.get("batch_invariance", _NOT_CHECKED))
        self.invariant = self.batch_invariance in ("identical", "within tolerance")
        declared = self._session.get_inputs()
        if not declared or not self._session.get_outputs():
            raise ModelLoadError("The model must have an input and an output.")
        known = {"alone": len(declared) == 1, "gaps": facts.get("gaps") is True}
        self.inputs = tuple(_read_input(each, **known) for each in declared)
        self._input = declared[0].name
        self._plain = len(declared) == 1 and self.inputs[0].dtype != TEXT
        self._first = [self._session.get_outputs()[0].name]
        self._last = self._typical_times = 0.0, 0.0  # seconds of a run, seconds of a row of it

    def run(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the first output for a batch.

        Raises:
            ModelRunError: ONNX Runtime failed; the row that it failed at is looked for.
            ValueError: There is not one answer a row.
        """
        start = time.perf_counter()
        try:
            outputs = self._run(rows)
        except Exception as error:
            raise explain_failure(error, self._run, rows, self._input) from error
        took = time.perf_counter() - start
        before, self._last = self._last, (took, took / (len(rows) or 1))
        self._typical_times = min(before[0], self._last[0]), min(before[1], self._last[1])
        outputs = np.asarray(outputs)
        if not outputs.ndim or len(outputs) != len(rows):
            raise ValueError(f"{len(rows)} rows were answered with an output of {outputs.shape}.")
        return outputs

    def estimate_seconds(self, rows: int) -> float:
        """Estimate the seconds of a run by the last two, of which a slow one may be an accident."""
        run, row = self._typical_times
        return max(run, row * rows)

    def warm(self) -> None:
        """Run twice on a row of zeros, which a model is free to refuse: the first run is slow."""
        parts = [(i.name, i.dtype, tuple(size or 1 for size in i.row)) for i in self.inputs]
        row = np.zeros(1, parts)
        for name in (each.name for each in self.inputs if each.dtype == TEXT):
            row[name] = ""
        if len(parts) == 1:
            row = row[parts[0][0]]
        for _ in range(2):
            try:
                self.run(row)
            except Exception:  # noqa: BLE001 - zeros were our idea, not the client's
                return

    def _run(self, rows: NDArray[Any]) -> Any:  # noqa: ANN401 - what a model answers
        feed = {self._input: rows} if self._plain else self._feed_records(rows)
        return self._session.run(self._first, feed)[0]

    def _feed_records(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        alone = rows.dtype.names is None
        return {each.name: each.feed(rows if alone else rows[each.name]) for each in self.inputs}


def _read_input(declared: Any, *, alone: bool, gaps: bool) -> ModelInput:  # noqa: ANN401 - ONNX Runtime's
    name, kind, shape = declared.name, declared.type, declared.shape
    if kind not in _DTYPES:
        raise ModelLoadError(f"Input {name!r} must be a tensor of numbers or texts, got {kind}.")
    if not shape or isinstance(shape[0], int):
        raise ModelLoadError(f"The first axis of input {name!r} must be free, got {shape}.")
    dtype = np.dtype(_DTYPES[kind])
    row = tuple(size if isinstance(size, int) else None for size in shape[1:])
    plain = row == (1,) and not (alone and dtype != TEXT)  # as skl2onnx declares a frame's columns
    return ModelInput(name, dtype, () if plain else row, row, gaps)


def _open(folder: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # errors come as exceptions; the log would say them twice
    # threads that wait by computing would take their time from other containers
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = _find(folder)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelLoadError(f"ONNX Runtime cannot load {path}: {error}") from error


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / _FACTS_FILE).read_bytes()))
    except (OSError, ValueError, TypeError):  # another's folder
        return {}


def _find(folder: Path) -> Path:
    """Return the folder's model.onnx, or its only ONNX file."""
    if (folder / MODEL_FILE).is_file():
        return folder / MODEL_FILE
    found = sorted(folder.glob("*.onnx"))
    if len(found) != 1:
        raise ModelLoadError(
            f"{folder} must hold {MODEL_FILE}, or one other ONNX file; it holds {len(found)}."
        )
    return found[0]
