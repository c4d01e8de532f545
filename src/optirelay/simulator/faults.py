"""What can be made to go wrong with the next calls of a name."""

from collections.abc import Callable
from dataclasses import dataclass

from optirelay.simulator.exchange import Answer, json_answer

# https://developer.optimove.com/reference/understanding-api-rate-limits-at-optimove
TOO_MANY_CALLS = json_answer(
    {
        "status": 429,
        "error": "Too Many Requests",
        "message": "The rate limit of this API group is exceeded. Please try again later.",
    },
    429,
)
BROKEN = json_answer("An error has occurred.", 500)
# A web application firewall stands before the service; what it answers is a page, here with a byte that is no UTF-8.
GARBAGE = Answer(200, b"<html><body>Request unsuccessful. Incident 7\xff</body></html>", "text/html")
# A 2xx that carries an error: seen by a public Go connector. The text is ours.
STRING_ERROR = json_answer("The request could not be processed.")

# None: the connection is closed without an answer.
INSTEAD: dict[str, Answer | None] = {
    "rate_limited": TOO_MANY_CALLS,
    "error_before": BROKEN,
    "cut_before": None,
    "garbage": GARBAGE,
    "string_error": STRING_ERROR,
}
AFTERWARDS: dict[str, Answer | None] = {"error_after": BROKEN, "cut_after": None}
FAULTS = (*INSTEAD, *AFTERWARDS, "slow")


@dataclass(slots=True)
class Fault:
    """The next `times` calls of that name go wrong; `seconds` is for `slow` alone."""

    call: str
    fault: str
    times: int = 1
    seconds: float = 5.0


def answer_with(fault: Fault | None, apply: Callable[[], Answer]) -> Answer | None:
    """The answer under a fault, having applied the call or not. None: close the connection without an answer."""
    if fault and fault.fault in INSTEAD:
        return INSTEAD[fault.fault]
    answer = apply()
    return AFTERWARDS.get(fault.fault, answer) if fault else answer
