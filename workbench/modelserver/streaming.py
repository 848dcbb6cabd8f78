"""Large bodies on their way through a model, block by block: in memory there is never a whole one.

The answer is gathered in a file and sent once it is whole, so that an error in the last block is
still an error to its client.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from workbench.modelserver import formats
from workbench.modelserver.batching_queue import BatchingQueue, Outcome
from workbench.modelserver.chunks import array_rows
from workbench.modelserver.failures import ModelRunError
from workbench.modelserver.formats import CSV, JSON, JSONLINES, NPY, InputBatch
from workbench.modelserver.http import FilePart, Request

SPOOL_THRESHOLD = 8 * 1024 * 1024
"""Bytes above which a body is large: real-time and serverless endpoints take less than that."""

_HEADER_BYTES = 64 * 1024  # room for that of an array, which tells how many rows there are


def spool() -> BinaryIO:
    """Return a file that is nowhere but in memory until it is large, and gone once it is closed."""
    import tempfile  # here, as few need it and a start would take 3 ms more

    return cast("BinaryIO", tempfile.SpooledTemporaryFile(SPOOL_THRESHOLD))


async def answer_blocks(
    request: Request, blocks: Iterator[InputBatch], accept: str, queue: BatchingQueue
) -> FilePart:
    """Return the answers to the blocks of a body, as far as its client is there to read them.

    Raises what is wrong with a block, or what the model raised.
    """
    loop, writer, rows = asyncio.get_running_loop(), BlockWriter(accept, spool()), 0
    try:
        while not request.abandoned and (batch := next(blocks, None)) is not None:
            done: asyncio.Future[Outcome] = loop.create_future()
            queue.submit(batch.rows, done.set_result, lambda: not request.abandoned)
            outcome = await done
            if isinstance(outcome, ModelRunError):
                raise outcome.after(rows)
            if isinstance(outcome, Exception):
                raise outcome
            writer.add(outcome, batch)
            rows += len(batch.rows)
            await asyncio.sleep(0)  # other requests have their turn between two blocks
        return writer.finish()
    except BaseException:
        writer.close()
        raise


class BlockWriter:
    """Answers as a body of one of `TYPES`, written block by block and like `formats.write` does.

    The file is an empty one, which is the writer's now.
    """

    def __init__(self, content_type: str, file: BinaryIO) -> None:
        self._type = content_type
        self._file = file
        self._batch: InputBatch | None = None
        self._shape: tuple[int, ...] = ()
        self._arrays: list[tuple[int, np.dtype[Any]]] = []  # rows and type of each block's

    def add(self, outputs: NDArray[Any], batch: InputBatch) -> None:
        """Write the answers to the next block, which have the shape of those before."""
        first, self._batch = self._batch is None, batch
        if not first and outputs.shape[1:] != self._shape:
            raise ValueError(f"Answers of {self._shape} were followed by {outputs.shape[1:]}.")
        self._shape = outputs.shape[1:]
        if batch.single or self._type in (CSV, JSONLINES):
            self._file.write(formats.write(self._type, outputs, batch))
        elif self._type == JSON:
            opening = b'{"%s":[' % batch.wrapped.encode() if batch.wrapped else b"["
            self._file.write(opening if first else b",")
            self._file.write(formats.dump(outputs)[1:-1])
        else:
            array = formats.strip_objects(outputs)
            if first:
                # the header tells how many rows there are and of what type: it is written last
                self._file.seek(_HEADER_BYTES)
            self._arrays.append((len(array), array.dtype))
            self._file.write(array.tobytes())

    def finish(self) -> FilePart:
        """Return the whole body."""
        batch, start = self._batch, 0
        if batch is not None and not batch.single:
            if self._type == JSON:
                self._file.write(b"]}" if batch.wrapped else b"]")
            elif self._type == NPY:
                start = self._write_header()
        end = self._file.seek(0, 2)
        return FilePart(self._file, start, end - start)

    def close(self) -> None:
        """Throw away what was written."""
        self._file.close()

    def _write_header(self) -> int:
        """Write the header in front of the rows; return where it begins."""
        dtype = np.result_type(*{dtype for _, dtype in self._arrays})
        if any(each != dtype for _, each in self._arrays):
            self._convert(dtype)
        rows = sum(count for count, _ in self._arrays)
        header = formats.npy_header(dtype, (rows, *self._shape))
        self._file.seek(_HEADER_BYTES - len(header))
        self._file.write(header)
        return _HEADER_BYTES - len(header)

    def _convert(self, dtype: np.dtype[Any]) -> None:
        """Write all blocks again in one type: labels may be longer in one than in another."""
        before, self._file = self._file, spool()
        start = self._file.seek(_HEADER_BYTES)
        with before:
            for count, each in self._arrays:
                shape = (count, *self._shape)
                for rows in array_rows(before, start, shape, each, order="C"):
                    self._file.write(rows.astype(dtype).tobytes())
                    start += rows.nbytes
