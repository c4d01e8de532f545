"""Optimove's calls, as its documentation describes them from the outside."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from optirelay.simulator import events
from optirelay.simulator.campaigns import RawRow, Row
from optirelay.simulator.clock import optimove_time
from optirelay.simulator.errors import Refused
from optirelay.simulator.exchange import Request
from optirelay.simulator.fields import Fields, read_array, read_number
from optirelay.simulator.quirks import Quirks
from optirelay.simulator.world import InteractionKey, ListenerKey, MetricKey, Tenant, World

# https://developer.optimove.com/reference/post_general-registereventlistener
EVENT_TYPES = (1, 2, 3, 4, 5, 11, 13)
WITHOUT_CHANNEL = (5,)
# Most that one call takes: the older documentation (github nicolasramy/optimove), and
# https://developer.optimove.com/reference/post_integrations-updatecampaigninteractions
MAX_TEMPLATES = 100
MAX_METRICS = 100
MAX_INTERACTION_CUSTOMERS = 10_000
# Github nicolasramy/optimove and larvit/optimove_mocker: what may not part the values of an answer.
NO_DELIMITERS = frozenset(":/?&#%$+=")


class Told(NamedTuple):
    """One call: what there is, whom the call speaks for, and what it says."""

    world: World
    tenant: Tenant
    request: Request
    body: Any  # parsed; None for a GET


def register_event_listener(told: Told) -> None:
    """One listener for a type and channel; a second call moves it.

    https://developer.optimove.com/reference/post_general-registereventlistener
    """
    fields = Fields(told.body)
    event_type = fields.number("EventTypeID")
    if event_type not in EVENT_TYPES:
        raise Refused(f"EventTypeID {event_type} is not valid.")
    channel_id = fields.number_or_none("ChannelID")
    if channel_id is not None:
        if event_type in WITHOUT_CHANNEL:
            raise Refused(f"ChannelID is not allowed for EventTypeID {event_type}.")
        _check_channel(told.tenant, channel_id)
    url = fields.text("ListenerURL")
    if not _is_web_address(url):
        raise Refused("ListenerURL is not a valid URL.")
    told.tenant.listeners[ListenerKey(event_type, channel_id)] = url


def get_registered_event_listeners(told: Told) -> list[dict[str, Any]]:
    """All listeners of the key. The rows are not documented; these have the fields that registering has."""
    wire_id = told.world.quirks.wire_id
    return [
        {"EventTypeID": wire_id(event_type)}
        | ({} if channel_id is None else {"ChannelID": wire_id(channel_id)})
        | {"ListenerURL": url}
        for (event_type, channel_id), url in told.tenant.listeners.items()
    ]


def add_channel_templates(told: Told) -> None:
    """All of them or none; the channel stands in the query (github nicolasramy/optimove)."""
    channel_id = _channel_in_query(told)
    known = told.tenant.templates[channel_id]
    new: dict[int, str] = {}
    for row in read_array(told.body, MAX_TEMPLATES, "templates"):
        fields = Fields(row)
        template_id, name = fields.number("TemplateID"), fields.text("TemplateName")
        fields.text_or_none("AppID")
        if told.world.quirks.known_template == "error" and (template_id in known or template_id in new):
            raise Refused(f"TemplateID {template_id} already exists.")
        new[template_id] = name
    known.update(new)


def get_channel_templates(told: Told) -> list[dict[str, Any]]:
    """What marketers can pick on the channel (github nicolasramy/optimove)."""
    templates = told.tenant.templates[_channel_in_query(told)]
    return [
        {"TemplateID": told.world.quirks.wire_id(number), "TemplateName": name} for number, name in templates.items()
    ]


def update_campaign_metrics(told: Told) -> None:
    """Totals, all of them or none; what a second total does is a quirk (github nicolasramy/optimove)."""
    new: list[tuple[MetricKey, int]] = []
    for row in read_array(told.body, MAX_METRICS, "metrics"):
        fields = Fields(row)
        channel_id = _check_channel(told.tenant, fields.number("ChannelID"))
        key = MetricKey(fields.number("CampaignID"), channel_id, fields.number("TemplateID"), fields.number("MetricID"))
        new.append((key, fields.number("MetricValue")))
    for key, value in new:
        before = told.tenant.metrics.get(key, 0) if told.world.quirks.metrics == "add" else 0
        told.tenant.metrics[key] = before + value


def update_campaign_interactions(told: Told) -> None:
    """Customers who did something; the same again adds up.

    https://developer.optimove.com/reference/post_integrations-updatecampaigninteractions
    """
    fields = Fields(told.body)
    happened_on = fields.text("InteractionDate")
    if not _is_date(happened_on):
        raise Refused("InteractionDate is not a date in the format YYYY-MM-DD.")
    customers = fields.texts("CustomerIDs")
    if len(customers) > MAX_INTERACTION_CUSTOMERS:
        raise Refused(f"A call takes at most {MAX_INTERACTION_CUSTOMERS} customers.")
    group = fields.number_or_none("RecipientGroupID")
    key = InteractionKey(
        fields.number("CampaignID"),
        _check_channel(told.tenant, fields.number("ChannelID")),
        fields.number("TemplateID"),
        fields.number("EventID"),
        happened_on,
        1 if group is None else group,
        fields.text_or_none("AppID"),
    )
    told.tenant.interactions[key] += len(customers)


def save_event(told: Told) -> dict[str, str]:
    """Things that happened to customers, each with its time.

    https://developer.optimove.com/docs/external-vendors-campaign-engagement-metrics
    """
    events.check(told.body)
    return {"status": "success", "message": str(len(told.world.told["events"]) + 1)}


def get_customer_send_details_by_channel(told: Told) -> list[Any]:
    """A page of a campaign's rows; none when nothing was fired (github nicolasramy/optimove)."""
    request = told.request
    channel_id = _channel_in_query(told)
    campaign_id = read_number(request, "CampaignID")
    skip = read_number(request, "$skip", 0)
    top = min(read_number(request, "$top", told.world.quirks.page_cap), told.world.quirks.page_cap)
    asked = request.param("CustomerAttributes")
    names = asked.split(";") if asked else []
    delimiter = request.param("CustomerAttributesDelimiter") or ";"
    if len(delimiter) != 1 or delimiter in NO_DELIMITERS:
        raise Refused(f"CustomerAttributesDelimiter {delimiter} is not allowed.")
    for campaign in told.world.campaigns_with(campaign_id, told.tenant.tenant_id):
        if campaign.channel_id == channel_id and campaign.fired_at:
            quirks = told.world.quirks
            return list(_rows_to_wire(campaign.page(skip, top, quirks.paging), names, delimiter, quirks))
    return []


def _rows_to_wire(rows: Iterable[Row | RawRow], names: list[str], delimiter: str, quirks: Quirks) -> Iterator[Any]:
    key = "CustomerAttribute" if quirks.attributes == "singular" else "CustomerAttributes"
    as_array = quirks.attributes == "array"
    for row in rows:
        if isinstance(row, RawRow):
            yield row.value
            continue
        wire: dict[str, Any] = {
            "CustomerID": row.customer.customer_id,
            "TemplateID": quirks.wire_id(row.template_id),
            "ScheduledTime": optimove_time(row.send_at) if row.send_at else None,
        }
        if quirks.control_group == "rows":
            wire["ActionID"] = quirks.wire_id(row.action_id)
        if quirks.recipient_groups == "rows":
            wire["RecipientGroupID"] = quirks.wire_id(row.group)
        if names:
            attributes = row.customer.attributes
            values = [attributes.get(name) for name in names]
            wire[key] = values if as_array else _joined(values, delimiter)
        yield wire


def _joined(values: list[Any], delimiter: str) -> str:
    """The older form has no null, but the text NULL."""
    return delimiter.join("NULL" if value is None else str(value) for value in values)


def _channel_in_query(told: Told) -> int:
    return _check_channel(told.tenant, read_number(told.request, "ChannelID"))


def _check_channel(tenant: Tenant, channel_id: int) -> int:
    if channel_id not in tenant.channels:
        raise Refused(f"ChannelID {channel_id} is not valid.")
    return channel_id


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Call:
    """One of Optimove's calls; what the handler gives back is the answer, and None is an empty body."""

    method: str
    area: str
    name: str
    handler: Callable[[Told], Any]
    kind: str | None = None  # under which name the simulator shows what it was told


SAVE_EVENT = Call("POST", "api", "saveEvent", save_event, "events")
CALLS = (
    Call("POST", "general", "RegisterEventListener", register_event_listener, "listeners"),
    Call("GET", "general", "GetRegisteredEventListeners", get_registered_event_listeners),
    Call("POST", "integrations", "AddChannelTemplates", add_channel_templates, "templates"),
    Call("GET", "integrations", "GetChannelTemplates", get_channel_templates),
    Call("GET", "customers", "GetCustomerSendDetailsByChannel", get_customer_send_details_by_channel),
    Call("POST", "integrations", "UpdateCampaignMetrics", update_campaign_metrics, "metrics"),
    Call("POST", "integrations", "UpdateCampaignInteractions", update_campaign_interactions, "interactions"),
    SAVE_EVENT,
)
# Optimove has these, too.
LATER = (
    *("general/GetLastDataUpdate", "general/UnregisterEventListener", "actions/GetExecutedCampaignsByChannel"),
    *("actions/GetExecutedCampaignChannelDetails", "actions/GetCampaignDetails", "integrations/DeleteChannelTemplates"),
    *("integrations/GetChannelTemplateDetails", "integrations/AddChannelApps", "integrations/DeleteChannelApps"),
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
