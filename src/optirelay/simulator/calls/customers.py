"""Customers of campaigns: who gets what, page by page."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from optirelay.simulator.calls.call import Call, Told
from optirelay.simulator.campaigns import CONTROL_GROUP, Campaign, RawRow, Row, action_of, page_of
from optirelay.simulator.clock import optimove_time, utc_now
from optirelay.simulator.customers import Customer
from optirelay.simulator.errors import Refused
from optirelay.simulator.fields import read_flag, read_number
from optirelay.simulator.seeded import bytes_from

# Github nicolasramy/optimove and larvit/optimove_mocker: what may not part the values of an answer.
NO_DELIMITERS = frozenset(":/?&#%$+=")
# https://developer.optimove.com/reference/get_customers-getcanceledcampaigncustomers
CANCELLED_KEPT = timedelta(hours=2)


class Asked(NamedTuple):
    """The attributes that the rows of an answer have."""

    names: list[str]
    delimiter: str
    form: str  # as the quirk `attributes` names it

    def add_to(self, wire: dict[str, Any], customer: Customer) -> dict[str, Any]:
        """The same row with a customer's attributes, where some were asked for."""
        if self.names:
            attributes = customer.attributes
            values = [attributes.get(name) for name in self.names]
            key = "CustomerAttribute" if self.form == "singular" else "CustomerAttributes"
            wire[key] = values if self.form == "array" else _joined(values, self.delimiter)
        return wire


def read_asked(told: Told) -> Asked:
    """CustomerAttributes and its delimiter; only names that the key may read."""
    asked = told.request.param("CustomerAttributes")
    names = asked.split(";") if asked else []
    if told.key.attributes is not None and not told.key.attributes.issuperset(names):
        raise told.forbidden()
    delimiter = told.request.param("CustomerAttributesDelimiter") or ";"
    if len(delimiter) != 1 or delimiter in NO_DELIMITERS:
        raise Refused(f"CustomerAttributesDelimiter {delimiter} is not allowed.")
    return Asked(names, delimiter, told.world.quirks.attributes)


def read_page(told: Told) -> tuple[int, int]:
    """How many rows to skip, and how many to give at most."""
    cap = told.world.quirks.page_cap
    return read_number(told.request, "$skip", 0), min(read_number(told.request, "$top", cap), cap)


def get_customer_send_details_by_channel(told: Told) -> list[Any]:
    """A page of a campaign's rows; none when nothing was fired (github nicolasramy/optimove)."""
    asked, quirks = read_asked(told), told.world.quirks
    wire_id, with_action, with_group = quirks.wire_id, quirks.control_group == "rows", quirks.recipient_groups == "rows"

    def write(row: Row) -> dict[str, Any]:
        wire: dict[str, Any] = {
            "CustomerID": row.customer.customer_id,
            "TemplateID": wire_id(row.template_id),
            "ScheduledTime": row.send_at and optimove_time(row.send_at),
        }
        if with_action:
            wire["ActionID"] = wire_id(row.action_id)
        if with_group:
            wire["RecipientGroupID"] = wire_id(row.group)
        return asked.add_to(wire, row.customer)

    return _page(told, _fired(told, told.channel_in_query()), write)


def get_customer_send_details_by_campaign(told: Told) -> list[Any]:
    """A page of the rows of all of a campaign's channels (github nicolasramy/optimove)."""
    wire_id, with_template = told.world.quirks.wire_id, read_flag(told.request, "IncludeTemplateIDs")

    def write(row: Row) -> dict[str, Any]:
        return {
            "CustomerID": row.customer.customer_id,
            "ChannelID": wire_id(row.campaign.channel_id),
            "ScheduledTime": row.send_at and optimove_time(row.send_at),
            "SendID": send_id(row.campaign.campaign_id, row.campaign.channel_id, row.template_id, row.send_at),
        } | ({"TemplateID": wire_id(row.template_id)} if with_template else {})

    return _page(told, _fired(told), write)


def get_customer_execution_details_by_campaign(told: Told) -> list[Any]:
    """A page of who got what, promotions with it; here it is ScheduleTime (public connectors in Node, PHP and Go)."""
    asked, quirks = read_asked(told), told.world.quirks

    def write(row: Row) -> dict[str, Any]:
        campaign = row.campaign
        wire = {
            "CustomerID": row.customer.customer_id,
            "ActionID": quirks.wire_id(action_of(row, quirks)),
            "ChannelID": quirks.wire_id(campaign.channel_id),
            "TemplateID": quirks.wire_id(row.template_id),
            "TemplateName": told.tenant.template_name(campaign.channel_id, row.template_id) or "",
            "ScheduleTime": row.send_at and optimove_time(row.send_at),
            "PromoCode": ",".join(campaign.promo_codes),
        }
        return asked.add_to(wire, row.customer)

    return _page(told, _fired(told, told.channel_in_query()), write)


def get_customer_one_time_actions_by_campaign(told: Told) -> list[Any]:
    """A page of a campaign's customers, without the control group unless it is asked for; channel 0 is all.

    https://developer.optimove.com/reference/get_customers-getcustomeronetimeactionsbycampaign
    """
    asked, quirks = read_asked(told), told.world.quirks
    channel_id = read_number(told.request, "ChannelID", 0)
    everyone = read_flag(told.request, "IncludeControlGroup")

    def write(row: Row) -> dict[str, Any] | None:
        action_id = action_of(row, quirks)
        if action_id == CONTROL_GROUP and not everyone:
            return None
        wire = {
            "CustomerID": row.customer.customer_id,
            "RecipientGroupID": quirks.wire_id(row.group),
            "ActionID": quirks.wire_id(action_id),
            "ChannelID": quirks.wire_id(row.campaign.channel_id),
        }
        return asked.add_to(wire, row.customer)

    campaigns = _fired(told, told.channel(channel_id) if channel_id else None)
    if everyone or quirks.control_group != "rows":
        return _page(told, campaigns, write)
    skip, top = read_page(told)
    kept = [wire for campaign in campaigns for row in campaign.rows() if (wire := _written(row, write)) is not None]
    return kept[skip : skip + top]


def get_processed_campaign_customers(told: Told) -> list[Any]:
    """A page of the customers who wait for approval while the campaign is on hold.

    The call is a step of Optimove's diagram (github optimove-tech/Optimove-APIs); the rows are those of
    GetCanceledCampaignCustomers, with the ActionID as a number.
    """
    quirks = told.world.quirks
    campaigns = [campaign for campaign in _named(told) if campaign.state == "on_hold"]
    return _page(told, campaigns, lambda row: _with_promotion(row, quirks.wire_id(action_of(row, quirks))))


def get_canceled_campaign_customers(told: Told) -> list[Any]:
    """A page of the customers of a campaign that was cancelled at most two hours ago; the ActionID is a text.

    https://developer.optimove.com/reference/get_customers-getcanceledcampaigncustomers
    """
    quirks, now = told.world.quirks, utc_now()
    campaigns = [
        campaign
        for campaign in _named(told)
        if campaign.cancelled_at
        and now - campaign.cancelled_at < CANCELLED_KEPT
        and (campaign.fired_at or campaign.on_hold_until)
    ]
    return _page(told, campaigns, lambda row: _with_promotion(row, str(action_of(row, quirks))))


@lru_cache(maxsize=1024)
def send_id(campaign_id: int, channel_id: int, template_id: int, send_at: datetime | None) -> str:
    """What Optimove calls one sending, as short as the older documentation's samples ("YT3C")."""
    return bytes_from(f"{campaign_id}:{channel_id}:{template_id}:{send_at}").hex()[:6].upper()


def _named(told: Told) -> list[Campaign]:
    campaigns = told.world.campaigns_with(read_number(told.request, "CampaignID"), told.tenant.tenant_id)
    return [one for one in campaigns if told.key.channels is None or one.channel_id in told.key.channels]


def _fired(told: Told, channel_id: int | None = None) -> list[Campaign]:
    return [one for one in _named(told) if one.fired_at and channel_id in (None, one.channel_id)]


def _page(told: Told, campaigns: Sequence[Campaign], write: Callable[[Row], Any]) -> list[Any]:
    skip, top = read_page(told)
    return [_written(row, write) for row in page_of(campaigns, skip, top, told.world.quirks.paging)]


def _written(row: Row | RawRow, write: Callable[[Row], Any]) -> Any:
    return row.value if isinstance(row, RawRow) else write(row)


def _with_promotion(row: Row, action_id: int | str) -> dict[str, Any]:
    """How several codes are written is not clear from the sample; joined, as where execution details have them."""
    return {
        "CustomerID": row.customer.customer_id,
        "ActionID": action_id,
        "PromoCode": ",".join(row.campaign.promo_codes),
    }


def _joined(values: list[Any], delimiter: str) -> str:
    """The older form has no null, but the text NULL."""
    return delimiter.join("NULL" if value is None else str(value) for value in values)


CALLS = (
    Call("GET", "customers", "GetCustomerSendDetailsByChannel", get_customer_send_details_by_channel),
    Call("GET", "customers", "GetCustomerSendDetailsByCampaign", get_customer_send_details_by_campaign),
    Call("GET", "customers", "GetCustomerExecutionDetailsByCampaign", get_customer_execution_details_by_campaign),
    Call("GET", "customers", "GetCustomerOneTimeActionsByCampaign", get_customer_one_time_actions_by_campaign),
    Call("GET", "customers", "GetProcessedCampaignCustomers", get_processed_campaign_customers),
    Call("GET", "customers", "GetCanceledCampaignCustomers", get_canceled_campaign_customers),
)
