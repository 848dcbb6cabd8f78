"""What batch transform makes of an object: requests of records, and one object of the answers.

A file is read piece by piece, so that one larger than the memory passes through. What is filtered
and joined is as the SageMaker API Reference says of `DataProcessing`.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

import orjson

from workbench.errors import InvalidInput
from workbench.localcloud.sagemaker.jsonpath import JsonPath, parse
from workbench.units import MB

_FORMATS: Mapping[str, Literal["csv", "json"]] = {
    "text/csv": "csv",
    "application/json": "json",
    "application/jsonlines": "json",
}
MAX_TRANSFORM_BYTES = 100 * MB
"""Bytes that a request has at most, whatever a job says (API reference, MaxPayloadInMB)."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A request: `body` holds `count` records, of which `first` is the number in its object.

    `records` are what the answers are joined with: the records as they came, where that is wanted.
    """

    body: bytes
    first: int
    count: int
    records: Sequence[bytes] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Processing:
    """What is sent of each record, and kept of each answer.

    Attributes:
        form: How records and answers are written: the rows of CSV count as arrays of texts.
        sent: What is picked from a record for the model.
        kept: What is picked from an answer, or from record and answer together.
        join: Whether they are put together.
    """

    form: Literal["csv", "json"]
    sent: JsonPath
    kept: JsonPath
    join: bool

    @staticmethod
    def of(facts: Mapping[str, str], content_type: str, accept: str) -> "Processing | None":
        """Return what `DataProcessing` asks for; None if that is nothing.

        Raises:
            InvalidInput: A filter is not one, or the data are neither CSV nor JSON.
        """
        sent, kept = (parse(facts.get(name) or "$") for name in ("InputFilter", "OutputFilter"))
        join = facts.get("JoinSource", "None") == "Input"
        if sent.whole and kept.whole and not join:
            return None
        form, answered = _parse_format(content_type), _parse_format(accept or content_type)
        if form is None or form != answered:
            raise InvalidInput(
                "DataProcessing needs ContentType and Accept that are both CSV (text/csv) or both "
                f"JSON (application/json, application/jsonlines), got {content_type!r} and "
                f"{accept!r}."
            )
        return Processing(form=form, sent=sent, kept=kept, join=join)

    def filter_record(self, record: bytes) -> bytes:
        """Return what the model gets of a record.

        Raises:
            InvalidInput: The record cannot be read, or lacks what the filter picks.
        """
        return record if self.sent.whole else self._write(self.sent.pick(self._read(record)))

    def filter_answers(self, payload: Payload, body: bytes) -> Iterator[bytes]:
        """Return what is kept of the answers to a request, each without a line's end.

        Raises:
            InvalidInput: The answers cannot be read, lack what the filter picks, or are not as many
                as the records.
        """
        answers = [body] if self.form == "json" and payload.count == 1 else _lines(body)
        if len(answers) != payload.count:
            raise InvalidInput(
                f"The model answered {payload.count} records with {len(answers)}: which "
                "belongs to which is unknown. It must give one line for each record."
            )
        records = payload.records or [b""] * payload.count
        for record, answer in zip(records, answers, strict=True):
            yield self._filter_answer(record, answer)

    def _filter_answer(self, record: bytes, answer: bytes) -> bytes:
        if not self.join:
            return answer if self.kept.whole else self._write(self.kept.pick(self._read(answer)))
        if self.form == "csv":
            if self.kept.whole:
                return record + b"," + answer
            return self._write(self.kept.pick([*self._read(record), *self._read(answer)]))
        value, output = self._read(record), self._read(answer)
        whole = value if isinstance(value, dict) else {"SageMakerInput": value}
        return self._write(self.kept.pick(whole | {"SageMakerOutput": output}))

    def _read(self, text: bytes) -> Any:  # noqa: ANN401 - JSON
        try:
            if self.form == "json":
                return orjson.loads(text)
            return next(csv.reader([text.decode()]))
        except (ValueError, csv.Error, StopIteration) as error:
            shown = text[:80].decode("utf-8", "replace")
            raise InvalidInput(f"{shown!r} is not {self.form.upper()}: {error}.") from error

    def _write(self, value: Any) -> bytes:  # noqa: ANN401 - JSON
        if self.form == "json":
            return orjson.dumps(value)
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(value if isinstance(value, list) else [value])
        return text.getvalue().encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Splitting:
    """How objects become requests, and answers an object.

    Attributes:
        lines: Whether each line is a record; else an object is one.
        single: Whether a request has one record; else as many as fit.
        max_payload: Bytes of a request.
        processing: What is filtered and joined.
        assemble: Whether each answer ends with a line's end.
    """

    lines: bool
    single: bool
    max_payload: int
    processing: Processing | None = None
    assemble: bool = False

    def payloads(self, file: IO[bytes]) -> Iterator[Payload]:
        """Return the requests that an object becomes, in order.

        Raises:
            InvalidInput: A record is too large, or cannot be filtered.
        """
        if not self.lines:
            return self._whole(file)
        return self._each(file) if self.single or self.processing else self._pieces(file)

    def assemble_answer(self, payload: Payload, body: bytes) -> bytes:
        """Return what the answer to a request adds to the object of answers.

        Raises:
            InvalidInput: It cannot be filtered or joined.
        """
        if self.processing is not None:
            kept = b"\n".join(self.processing.filter_answers(payload, body))
            lines = self.lines or self.assemble or payload.count > 1
            return kept + b"\n" if lines else kept
        return body + b"\n" if self.assemble and not body.endswith(b"\n") else body

    def _whole(self, file: IO[bytes]) -> Iterator[Payload]:
        content = file.read(self.max_payload + 1)
        self._check(content, "The object")
        if not content:
            return
        processing = self.processing
        if processing is None:
            yield Payload(content, 1, 1)
            return
        records = _lines(content) if processing.form == "csv" else [content]
        body = b"\n".join(map(processing.filter_record, records))
        yield Payload(body, 1, len(records), records if self._joins else ())

    def _pieces(self, file: IO[bytes]) -> Iterator[Payload]:
        """Cut at the last line's end that fits: nothing is done line by line."""
        first, rest = 1, b""
        while content := rest + file.read(self.max_payload + 1 - len(rest)):
            last = len(content) <= self.max_payload
            end = len(content) if last else content.rfind(b"\n", 0, self.max_payload) + 1
            if not end:
                self._check(content, f"Record {first}")
            body, rest = content[:end], content[end:]
            count = body.count(b"\n") + (not body.endswith(b"\n"))
            if not body.isspace():
                yield Payload(body, first, count)
            first += count

    def _each(self, file: IO[bytes]) -> Iterator[Payload]:
        """Gather records, each filtered, until no more fit or one is enough."""
        processing = self.processing
        first = number = 1
        size, bodies, records = 0, list[bytes](), list[bytes]()
        for number, record in self._records(file):
            try:
                body = record if processing is None else processing.filter_record(record)
            except InvalidInput as error:
                raise InvalidInput(f"Record {number}: {error}") from error
            self._check(body, f"Record {number}")
            if bodies and (self.single or size + len(body) + 1 > self.max_payload):
                yield Payload(b"\n".join(bodies), first, len(bodies), records)
                size, bodies, records = 0, [], []
            if not bodies:
                first = number
            size += len(body) + bool(bodies)
            bodies.append(body)
            if self._joins:
                records.append(record)
        if bodies:
            yield Payload(b"\n".join(bodies), first, len(bodies), records)

    def _records(self, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
        """Return every line that is not blank, with its number."""
        number = 0
        while line := file.readline(MAX_TRANSFORM_BYTES + 2):
            number += 1
            if len(line) > MAX_TRANSFORM_BYTES + 1:
                raise InvalidInput(
                    f"Record {number} is larger than {MAX_TRANSFORM_BYTES // MB} MB."
                )
            if record := line.rstrip(b"\r\n"):
                yield number, record

    @property
    def _joins(self) -> bool:
        return self.processing is not None and self.processing.join

    def _check(self, body: bytes, what: str) -> None:
        if len(body) > self.max_payload:
            raise InvalidInput(
                f"{what} is larger than MaxPayloadInMB, which is {self.max_payload // MB} MB "
                f"({self.max_payload} bytes)."
            )


def _parse_format(content_type: str) -> Literal["csv", "json"] | None:
    return _FORMATS.get(content_type.partition(";")[0].strip().lower())


def _lines(body: bytes) -> list[bytes]:
    return [line for line in body.splitlines() if line.strip()]
