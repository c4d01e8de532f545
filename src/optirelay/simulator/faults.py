"""What can be made to go wrong with the next calls of a name."""

from collections.abc import Callable
from dataclasses import dataclass, replace

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

# What a key that is missing, or may not do this, gets is not documented; the older tokens had these statuses.
UNAUTHORIZED = json_answer("Unauthorized", 401)
FORBIDDEN = json_answer("Forbidden", 403)
REFUSED = json_answer("The request is invalid.", 400)
# What proxies and maintenance pages do; none was seen at Optimove.
MOVED = Answer(302, headers={"location": "/sorry"})
WRONG_SHAPE = json_answer({"error": "not available", "rows": []})
# https://developer.optimove.com/reference/post_customers-updatecustomerattributes in a public connector: 200 or 202.
ACCEPTED = Answer(202)
# The older documentation's samples (github nicolasramy/optimove, larvit/optimove_mocker).
RESPONSE_CODE = json_answer({"ResponseCode": 200})

# None: the connection is closed without an answer.
INSTEAD: dict[str, Answer | None] = {
    "rate_limited": TOO_MANY_CALLS,
    "unauthorized": UNAUTHORIZED,
    "forbidden": FORBIDDEN,
    "refused": REFUSED,
    "moved": MOVED,
    "error_before": BROKEN,
    "cut_before": None,
    "garbage": GARBAGE,
    "string_error": STRING_ERROR,
    "wrong_shape": WRONG_SHAPE,
}
AFTERWARDS: dict[str, Answer | None] = {
    "error_after": BROKEN,
    "cut_after": None,
    "cut_within": replace(json_answer([{"TemplateID": 17}]), cut=True),
    "accepted": ACCEPTED,
    "response_code": RESPONSE_CODE,
}
# The call is answered as ever, and its asynchronous result says that it failed.
FAILS_LATER = "fails_later"
FAULTS = (*INSTEAD, *AFTERWARDS, "slow", FAILS_LATER)


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
