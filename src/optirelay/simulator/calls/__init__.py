"""Optimove's calls, as its documentation describes them from the outside."""

from http import HTTPStatus
from typing import Any

from optirelay.simulator.calls import campaigns, customers, general, results, templates
from optirelay.simulator.calls.call import Call, Told
from optirelay.simulator.calls.results import SAVE_EVENT
from optirelay.simulator.errors import Refused
from optirelay.simulator.exchange import Request

__all__ = ["CALLS", "SAVE_EVENT", "Call", "Told", "find_call", "read_body"]

CALLS = (*general.CALLS, *templates.CALLS, *customers.CALLS, *campaigns.CALLS, *results.CALLS)
# Optimove has these, too.
LATER = (
    *("general/GetLastDataUpdate",),
    *(
        "actions/GetExecutedCampaignChannelDetails",
        "actions/GetCampaignDetails",
    ),
    *("integrations/GetChannelTemplateDetails",),
    *("integrations/SetCustomerChannelPreference", "customers/GetCanceledCampaignCustomers"),
    *("customers/GetCustomerOneTimeActionsByCampaign", "customers/GetCustomerExecutionDetailsByCampaign"),
    *("customers/GetCustomerSendDetailsByCampaign", "customers/AddCustomerAttribute"),
    *("customers/UpdateCustomerAttributes", "customers/UpsertCustomer", "customers/RemoveCustomerPII"),
)
_BY_PATH = {f"{call.area}/{call.name}".lower(): call for call in CALLS}
_LATER_BY_PATH = {path.lower(): path for path in LATER}


def find_call(request: Request) -> Call:
    """The call that a path names, with or without /current and without regard to case. Refused when there is none.

    Both forms are used by connectors in production; newer reference pages leave /current out:
    https://developer.optimove.com/reference/post_customers-updatecustomerattributes
    """
    path = request.path.lower().removeprefix("/current").removeprefix("/")
    if path in _LATER_BY_PATH:
        raise Refused(f"{_LATER_BY_PATH[path]} is not built yet in this simulator.", HTTPStatus.NOT_IMPLEMENTED)
    call = _BY_PATH.get(path)
    if call is None or call.method != request.method:  # github larvit/optimove_mocker: the same for both
        raise Refused("Method Not Allowed", HTTPStatus.METHOD_NOT_ALLOWED)
    return call


def read_body(call: Call, request: Request) -> Any:
    """What a POST says. It has to be called exactly application/json (github larvit/optimove_mocker)."""
    if call.method == "GET":
        return None
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused("The Content-Type has to be application/json.")
    try:
        return request.json()
    except (ValueError, RecursionError) as error:
        raise Refused("The request is invalid: the body is no JSON.") from error
