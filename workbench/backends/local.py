"""The model in this very process, answered by ONNX Runtime."""

from typing import Any, Self

from numpy.typing import NDArray

from workbench.backends.base import Batch, Reply
from workbench.deployment import Local
from workbench.onnx import Session
from workbench.registry import Model


class LocalBackend:
    """A model's session on this machine, shared by `workers` threads.

    ONNX Runtime lets go of Python's lock while it computes, so the workers run side by side. The
    session is opened, and warmed with a few of the model's own samples, on entering.
    """

    def __init__(self, model: Model, deployment: Local) -> None:
        self.concurrency = deployment.workers
        self._model = model
        self._threads = deployment.threads
        self._session: Session | None = None

    def __enter__(self) -> Self:
        self._session = self._model.session(threads=self._threads)
        self._warm(self._model.samples().inputs)
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None

    def invoke(self, batch: Batch) -> Reply:
        """Run the model on the batch."""
        assert self._session is not None, "invoke outside the with block"  # noqa: S101
        return Reply(self._session.run(batch.inputs))

    def _warm(self, inputs: NDArray[Any]) -> None:
        for rows in (1, 8, 32):
            self.invoke(Batch(inputs[:rows]))
