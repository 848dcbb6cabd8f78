"""The model in this very process, answered by ONNX Runtime."""

from queue import SimpleQueue
from typing import Self

from workbench.backends.base import Batch, Reply
from workbench.registry.model import Model
from workbench.registry.onnx import Session


class LocalBackend:
    """A model's sessions on this machine, one for each of its workers, each of some threads.

    ONNX Runtime lets go of Python's lock while it computes, so workers run side by side. Sessions
    are opened, and warmed with a few of the model's own samples, on entering.
    """

    def __init__(self, model: Model, *, workers: int = 1, threads: int = 1) -> None:
        self.concurrency = workers
        self._model = model
        self._threads = threads
        self._sessions: SimpleQueue[Session] | None = None

    def __enter__(self) -> Self:
        self._sessions = SimpleQueue()
        inputs = self._model.samples().inputs
        for worker in range(self.concurrency):
            if (
                not worker or self._threads > 1
            ):  # a session's own threads serve one caller at a time
                session = self._model.session(threads=self._threads)
                # a first run of a size takes memory, which later ones find
                for rows in (1, 8, 32):
                    session.run(inputs[:rows])
            self._sessions.put(session)
        return self

    def __exit__(self, *_: object) -> None:
        self._sessions = None

    def invoke(self, batch: Batch) -> Reply:
        """Run the model on the batch."""
        assert self._sessions is not None, "invoke outside the with block"  # noqa: S101
        session = self._sessions.get()
        try:
            return Reply(session.run(batch.inputs))
        finally:
            self._sessions.put(session)
