"""Customers: who gets what of a campaign."""

from collections.abc import Iterable, Iterator
from typing import Any

from optirelay.simulator.calls.call import Call, Told, channel_in_query
from optirelay.simulator.campaigns import RawRow, Row
from optirelay.simulator.clock import optimove_time
from optirelay.simulator.errors import Refused
from optirelay.simulator.fields import read_number
from optirelay.simulator.quirks import Quirks

# Github nicolasramy/optimove and larvit/optimove_mocker: what may not part the values of an answer.
NO_DELIMITERS = frozenset(":/?&#%$+=")


def get_customer_send_details_by_channel(told: Told) -> list[Any]:
    """A page of a campaign's rows; none when nothing was fired (github nicolasramy/optimove)."""
    request = told.request
    channel_id = channel_in_query(told)
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


CALLS = (Call("GET", "customers", "GetCustomerSendDetailsByChannel", get_customer_send_details_by_channel),)
