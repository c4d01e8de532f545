"""Errors named after what happens next; foreign errors are turned into these once, where they enter."""

from datetime import timedelta


class OptirelayError(Exception):
    """What goes wrong here is one of these; its text is a sentence that an operator can read."""


class TryLater(OptirelayError):
    """Nothing happened yet; the same again may work. `after` is how long the other side asked us to wait, if it did."""

    def __init__(self, message: str, *, after: timedelta | None = None) -> None:
        super().__init__(message)
        self.after = after


class InDoubt(OptirelayError):
    """It was written and no answer came: it may have happened, and twice would do harm."""


class GiveUp(OptirelayError):
    """The other side said no for good; the same again will be refused again."""


class NeedsOperator(OptirelayError):
    """Nothing goes on until a person changes something; the text names what."""
