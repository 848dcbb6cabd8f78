"""Everything the workbench raises on purpose, as one tree.

::

    WorkbenchError
    ├── InvalidInput       an argument, file or setting is not what it must be (also a ValueError)
    │   └── InvalidModel   a file or an estimator that cannot become a model
    ├── NotFound           no such group, version, trace, price or file (also a LookupError)
    ├── NotAvailable       right, but not here and now: offline, package missing, needs a cloud
    │   └── Unreachable    nothing answers at the cloud's address
    ├── NotPredictable     no formula gives the figure: the system is unstable, or has none
    ├── StorageError       reading or writing failed: no space, no permission (also an OSError)
    │   └── Damaged        a stored file is not what was stored
    ├── InvocationError    a backend could not answer a batch
    │   └── RowMismatch    it answered more or fewer rows than it was asked
    ├── CloudError         a cloud refused a call, or what it made does not work
    │   └── OverBudget     it would cost more than it may
    ├── Unfinished         a cell of a report failed, or took too long; what it made is kept
    ├── Stopped            work was stopped before it had anything to keep
    └── TooFewSamples      the rows do not carry the figure that was asked for (also a ValueError)

Each message says what came, what was wanted, and what to do now.
"""


class WorkbenchError(Exception):
    """Base of everything the workbench raises on purpose; its text can be written anywhere."""

    def __str__(self) -> str:
        # What came may hold half a character, which no terminal, log or page takes.
        return super().__str__().encode("utf-8", "backslashreplace").decode()


class InvalidInput(WorkbenchError, ValueError):
    """An argument, file or setting is not what it must be."""


class InvalidModel(InvalidInput):
    """A file or an estimator cannot become a model."""


class NotFound(WorkbenchError, LookupError):
    """There is no such group, version, trace, price or file."""


class NotAvailable(WorkbenchError):
    """What was asked for is right, but cannot be had here and now."""


class Unreachable(NotAvailable):
    """Nothing answers at the cloud's address."""


class NotPredictable(WorkbenchError):
    """No formula gives the figure: the system is unstable, or no closed form exists for it."""


class StorageError(WorkbenchError, OSError):
    """Reading or writing a file failed; nothing half written is left."""


class Damaged(StorageError):
    """A stored file is not what was stored."""


class InvocationError(WorkbenchError):
    """A backend could not answer a batch."""


class RowMismatch(InvocationError):
    """A backend answered more or fewer rows than it was asked."""


class CloudError(WorkbenchError):
    """A cloud refused a call, or what it made does not work; `code` is the cloud's own word."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class OverBudget(CloudError):
    """What was asked for would cost more than it may."""


class Unfinished(WorkbenchError):
    """A cell of a report failed, or took too long; `notebook` holds what was made until then."""

    def __init__(self, message: str, notebook: object = None) -> None:
        super().__init__(message)
        self.notebook = notebook


class Stopped(WorkbenchError):
    """Work was stopped before it had anything to keep."""


class TooFewSamples(WorkbenchError, ValueError):
    """The rows do not carry the figure that was asked for."""
