"""What can be wrong with what the simulator is told."""

from http import HTTPStatus
from typing import Any


class BadEntry(ValueError):
    """A scenario entry cannot be used; the text names the key and the mend."""


class CannotListen(OSError):
    """The address to listen on is taken or is none; the text names it and the mend."""


class Refused(Exception):
    """A call is answered with an error as Optimove gives it: a status and a text.

    Bodies of errors are not uniform at Optimove; a JSON string is what public clients met most
    (github larvit/optimove_mocker, github avalanchy/optimoveapi).
    """

    def __init__(self, text: str, status: int = HTTPStatus.BAD_REQUEST, *, value: Any = None) -> None:
        super().__init__(text)
        self.status = status
        self.value = text if value is None else value  # the body, as JSON
