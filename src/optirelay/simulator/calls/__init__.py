"""Optimove's calls, as its documentation describes them from the outside."""

from http import HTTPStatus
from typing import Any

from optirelay.simulator.calls import attributes, campaigns, customers, general, promotions, results, templates
from optirelay.simulator.calls.attributes import GET_CUSTOMER_ATTRIBUTES, ONE_CUSTOMER
from optirelay.simulator.calls.call import Call, Told
from optirelay.simulator.calls.results import SAVE_EVENT
from optirelay.simulator.errors import Refused
from optirelay.simulator.exchange import Request

__all__ = ["CALLS", "SAVE_EVENT", "THIRD_PARTY", "Call", "Told", "find_call", "read_body"]

CALLS = (
    *general.CALLS,
    *templates.CALLS,
    *campaigns.CALLS,
    *customers.CALLS,
    *attributes.CALLS,
    *promotions.CALLS,
    *results.CALLS,
)
# What a key of the access type "Integrations" may call: github optimove-tech/Optimove-APIs, Sandbox/readme.
THIRD_PARTY = frozenset(
    (
        *("GetLastDataUpdate", "RegisterEventListener", "UnregisterEventListener", "GetRegisteredEventListeners"),
        *("GetCampaignDetails", "GetExecutedCampaignChannelDetails", "GetExecutedCampaignsByChannel"),
        *("GetCustomerOneTimeActionsByCampaign", "GetCustomerAttributeChangers", "GetCustomerSendDetailsByChannel"),
        *("GetCampaignInteractionCustomers", "GetCustomerChannelInteractions"),
        *("GetCustomerExecutionDetailsByCampaign", "AddChannelTemplates", "GetChannelTemplates"),
        *("GetChannelTemplateDetails", "DeleteChannelTemplates", "AddChannelApps", "DeleteChannelApps"),
        *("UpdateCampaignMetrics", "UpdateCampaignInteractions", "SetCustomerChannelPreference"),
    )
)
_BY_PATH = {f"{call.area}/{call.name}".lower().strip("/"): call for call in CALLS if call != GET_CUSTOMER_ATTRIBUTES}
# That list spells these two in both ways.
_BY_PATH["general/getregisteredeventlistener"] = _BY_PATH["general/getregisteredeventlisteners"]
_BY_PATH["integrations/getchanneltemplatesdetails"] = _BY_PATH["integrations/getchanneltemplatedetails"]


def find_call(request: Request) -> Call:
    """The call that a path names, with or without /current and without regard to case. Refused when there is none.

    Both forms are used by connectors in production; newer reference pages leave /current out:
    https://developer.optimove.com/reference/post_customers-updatecustomerattributes
    """
    path = request.path.lower().removeprefix("/current").removeprefix("/")
    call = GET_CUSTOMER_ATTRIBUTES if ONE_CUSTOMER.fullmatch(request.path) else _BY_PATH.get(path)
    if call is None or call.method != request.method:  # github larvit/optimove_mocker: the same for both
        raise Refused("Method Not Allowed", HTTPStatus.METHOD_NOT_ALLOWED)
    return call


def read_body(call: Call, request: Request) -> Any:
    """What a POST or a PUT says. It has to be called exactly application/json (github larvit/optimove_mocker)."""
    if call.method == "GET":
        return None
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused("The Content-Type has to be application/json.")
    try:
        return request.json()
    except (ValueError, RecursionError) as error:
        raise Refused("The request is invalid: the body is no JSON.") from error
