"""What a request can be refused for, with the HTTP status that says so."""


class RequestError(Exception):
    """A request cannot be answered: `status` is what HTTP calls it, the message what to change."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
