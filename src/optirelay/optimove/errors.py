"""What can go wrong with a call to Optimove: one class for each thing that can happen next."""

from datetime import timedelta


class OptimoveError(Exception):
    """A call that did not succeed; its text is a sentence for an operator, without keys and without whole URLs.

    `call` is the call's name, such as "UpdateCampaignMetrics". `repeatable`: making the same call twice does no harm.
    """

    def __init__(self, message: str, *, call: str, repeatable: bool) -> None:
        super().__init__(message)
        self.call = call
        self.repeatable = repeatable


class Unauthorized(OptimoveError):
    """401 or 403: the key is missing, wrong, revoked, or lacks the permission. The same again is refused again."""


class Forbidden(Unauthorized):
    """403: the key is known, and may not do this; other calls it may make. (The statuses are INFERRED: no document of
    Optimove's names them; its older tokens had these.)"""


class RateLimited(OptimoveError):
    """429: too many calls with this key (documented: 50 in 10 seconds). Nothing was done; later it may work.

    `retry_after` is how long Optimove asks us to wait; None when it does not say.
    """

    def __init__(self, message: str, *, call: str, repeatable: bool, retry_after: timedelta | None) -> None:
        super().__init__(message, call=call, repeatable=repeatable)
        self.retry_after = retry_after


class CannotConnect(OptimoveError):
    """There was no connection: nothing was written, so nothing happened."""


class Moved(OptimoveError):
    """A redirect: something else answers at this address, so nothing happened. It is not followed."""


class NoAnswer(OptimoveError):
    """It was (at least partly) written, and no whole answer came: it may have happened."""


class Broken(OptimoveError):
    """It may have happened, and later it may work: 5xx, 408, a 3xx that is no plain redirect, or a 2xx that is not what
    the call promises."""


class TooLong(Broken):
    """A 2xx with more than we take: it may have happened, and the same again will be as long."""


class RepeatedPage(Broken):
    """A page of a list is the page before once more, byte for byte: this list is not given in pages, or has no end.

    Its rows were all given once; what was read until then may be everything.
    """


class Refused(OptimoveError):
    """Any other 4xx: Optimove does not take this call; the same again is refused again."""
