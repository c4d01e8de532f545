"""Optimove's "customers" area: who was chosen, held, cancelled or answered; and who is to be forgotten.

The send details of this area are in send_details.py, its attributes in attributes.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeVar

from ._call import PAGE_SIZE, Call, PagedCall, page_query
from ._read import (
    Unreadable,
    read_date,
    read_id,
    read_list,
    read_note,
    read_object,
    read_optional_id,
    read_time,
)
from ._rows import attributes_query, read_asked, read_customer, read_promo_codes
from ._write import check_limit, date_to_wire
from .integrations import Interaction

T = TypeVar("T")

MAX_FORGOTTEN = 50_000  #: customers a call of RemoveCustomerPII


@dataclass(frozen=True, slots=True)
class ExecutionDetail:
    """One message of an executed campaign to one customer; its promotion codes are to be granted once a customer."""

    customer_id: str
    action_id: int | None
    channel_id: int | None
    template_id: int | None
    template_name: str
    scheduled_time: datetime | None  #: aware, UTC
    promo_codes: tuple[str, ...]
    attributes: tuple[str | None, ...] = field(default=(), repr=False)  #: in the order asked for


@dataclass(frozen=True, slots=True)
class OneTimeAction:
    """What one customer got, or as one of the control group did not get, of a campaign that was run ad hoc."""

    customer_id: str
    recipient_group_id: int | None  #: None: older answers do not tell
    action_id: int | None  #: 1: control group, not written to
    channel_id: int | None
    attributes: tuple[str | None, ...] = field(default=(), repr=False)  #: in the order asked for


@dataclass(frozen=True, slots=True)
class CampaignCustomer:
    """A customer of a campaign that waits for approval, or that is cancelled."""

    customer_id: str
    action_id: int | None
    promo_codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InteractionCustomer:
    """A customer who did what was asked for."""

    customer_id: str
    campaign_id: int | None
    template_id: int | None
    attributes: tuple[str | None, ...] = field(default=(), repr=False)  #: in the order asked for


@dataclass(frozen=True, slots=True)
class ChannelInteraction:
    """One thing that one customer did."""

    happened_on: date
    campaign_id: int | None
    recipient_group_id: int | None
    action_id: int | None
    channel_id: int | None
    template_id: int | None
    event_id: int  #: an Interaction, or a number that we have no name for


def get_customer_execution_details_by_campaign(
    *, campaign_id: int, channel_id: int, attributes: Sequence[str] = (), skip: int = 0, top: int = PAGE_SIZE
) -> PagedCall[list[ExecutionDetail]]:
    """One page of what an executed campaign sent on one channel, with promotion codes; after an event of type 13.

    A campaign of several channels tells the same customer once for each: grant a code once. ValueError for the name of
    an attribute that is empty or holds ";", a negative `skip` and a `top` below 1. A row without customer is
    unreadable.

    github optimove-tech/Optimove-APIs; fields: newer public connectors
    """
    query: dict[str, str | int] = {"CampaignID": campaign_id, "ChannelID": channel_id}
    query |= attributes_query(attributes)
    return _paged(
        "GetCustomerExecutionDetailsByCampaign",
        lambda row: _read_execution_detail(row, len(attributes)),
        query,
        skip,
        top,
    )


def get_customer_one_time_actions_by_campaign(
    campaign_id: int,
    *,
    channel_id: int | None = None,
    control_group: bool = False,
    attributes: Sequence[str] = (),
    skip: int = 0,
    top: int = PAGE_SIZE,
) -> PagedCall[list[OneTimeAction]]:
    """One page of the customers of a campaign that was run ad hoc, on one channel or on all.

    `control_group` asks for those, too, who are not written to (`action_id` 1). ValueError for the name of an attribute
    that is empty or holds ";", a negative `skip` and a `top` below 1. A row without customer is unreadable.

    https://developer.optimove.com/reference/get_customers-getcustomeronetimeactionsbycampaign; IncludeControlGroup and
    paging: github nicolasramy/optimove
    """
    query: dict[str, str | int] = {"CampaignID": campaign_id}
    if channel_id is not None:
        query["ChannelID"] = channel_id
    if control_group:
        query["IncludeControlGroup"] = "true"
    query |= attributes_query(attributes)
    return _paged(
        "GetCustomerOneTimeActionsByCampaign", lambda row: _read_one_time_action(row, len(attributes)), query, skip, top
    )


def get_processed_campaign_customers(
    campaign_id: int, *, skip: int = 0, top: int = PAGE_SIZE
) -> PagedCall[list[CampaignCustomer]]:
    """One page of the customers of a campaign that waits for approval; after an event of type 5.

    Answer with `update_customer_promotion_status`. The fields, and that the call gives pages, are INFERRED from its
    siblings: if it does not, the same page comes again and `pages` ends with RepeatedPage. ValueError for a negative
    `skip` and a `top` below 1. A row without customer is unreadable. A key of the third-party role may be refused this
    call.

    https://developer.optimove.com/docs/flow-2-shared-responsibility-between-optimove-and-tenant
    """
    query: dict[str, str | int] = {"CampaignID": campaign_id}
    return _paged("GetProcessedCampaignCustomers", _read_campaign_customer, query, skip, top)


def get_canceled_campaign_customers(
    campaign_id: int, *, skip: int = 0, top: int = PAGE_SIZE
) -> PagedCall[list[CampaignCustomer]]:
    """One page of the customers of a cancelled campaign; for two hours after an event of type 4.

    That the call gives pages is INFERRED from its siblings: if it does not, the same page comes again and `pages` ends
    with RepeatedPage. ValueError for a negative `skip` and a `top` below 1. A row without customer is unreadable. A key
    of the third-party role may be refused this call.

    https://developer.optimove.com/reference/get_customers-getcanceledcampaigncustomers
    """
    query: dict[str, str | int] = {"CampaignID": campaign_id}
    return _paged("GetCanceledCampaignCustomers", _read_campaign_customer, query, skip, top)


def get_campaign_interaction_customers(
    *,
    on: date,
    channel_id: int,
    event_id: Interaction | int,
    attributes: Sequence[str] = (),
    skip: int = 0,
    top: int = PAGE_SIZE,
) -> PagedCall[list[InteractionCustomer]]:
    """One page of the customers who did this with what a campaign delivered on this day via this channel.

    The names in the query, those of the fields, and that the call gives pages, are INFERRED from its siblings and from
    what it is said to tell. ValueError for the name of an attribute that is empty or holds ";", a negative `skip` and a
    `top` below 1. A row without customer is unreadable.

    https://docs.optimove.com/api-usage-guide, as quoted by github nicolasramy/optimove
    """
    query: dict[str, str | int] = {"Date": date_to_wire(on), "ChannelID": channel_id, "EventID": int(event_id)}
    query |= attributes_query(attributes)
    return _paged(
        "GetCampaignInteractionCustomers",
        lambda row: _read_interaction_customer(row, len(attributes)),
        query,
        skip,
        top,
    )


def get_customer_channel_interactions(
    customer_id: str, *, start_on: date, end_on: date, channel_id: int = 0
) -> Call[list[ChannelInteraction]]:
    """What one customer did from the first day to the last, on one channel or (0) on all.

    Optimove can switch an account so that this call answers as its successor, GetCampaignEngagementMetrics, whose rows
    are not documented in public: they are unreadable here. So is a row without day or event. ValueError for a customer
    without a name, and for a last day before the first.

    https://developer.optimove.com/reference/get_customers-getcustomerchannelinteractions; 0 for all: github
    sylenaid/optimove-integration
    """
    if not customer_id.strip():
        raise ValueError("A customer's id is not empty")
    if end_on < start_on:
        raise ValueError(f"The last day, {end_on}, comes before the first, {start_on}")
    query: dict[str, str | int] = {
        "CustomerID": customer_id,
        "StartDate": date_to_wire(start_on),
        "EndDate": date_to_wire(end_on),
        "ChannelID": channel_id,
    }
    return Call("GET", "/customers/GetCustomerChannelInteractions", read_list(_read_interaction), query=query)


def remove_customer_pii(customer_ids: Sequence[str], *, limit: int = MAX_FORGOTTEN) -> Call[list[str]]:
    """Have Optimove forget what is personal about these customers; the ids it never knew come back.

    Only attributes that are set up as personal are made anonymous; the record stays. At most `limit` customers a call;
    more is a ValueError. Repeatable: who is forgotten already does not come back.

    https://developer.optimove.com/reference/post_customers-removecustomerpii
    """
    check_limit(customer_ids, limit, "customers")
    return Call("POST", "/customers/RemoveCustomerPII", _read_failed, body={"CustomerIDs": list(customer_ids)})


def _paged(
    function: str, read: Callable[[Mapping[str, Any]], T], query: dict[str, str | int], skip: int, top: int
) -> PagedCall[list[T]]:
    return PagedCall("GET", f"/customers/{function}", read_list(read), query={**query, **page_query(skip, top)})


def _read_execution_detail(row: Mapping[str, Any], asked: int) -> ExecutionDetail:
    time = row.get("scheduletime") or row.get("scheduledtime")  # the first is what this call was seen to write
    return ExecutionDetail(
        read_customer(row),
        read_optional_id(row.get("actionid"), "ActionID"),
        read_optional_id(row.get("channelid"), "ChannelID"),
        read_optional_id(row.get("templateid"), "TemplateID"),
        read_note(row.get("templatename"), "TemplateName"),
        None if time is None else read_time(time, "ScheduleTime"),
        read_promo_codes(row.get("promocode")),
        read_asked(row, asked),
    )


def _read_one_time_action(row: Mapping[str, Any], asked: int) -> OneTimeAction:
    return OneTimeAction(
        read_customer(row),
        read_optional_id(row.get("recipientgroupid"), "RecipientGroupID"),
        read_optional_id(row.get("actionid"), "ActionID"),
        read_optional_id(row.get("channelid"), "ChannelID"),
        read_asked(row, asked),
    )


def _read_campaign_customer(row: Mapping[str, Any]) -> CampaignCustomer:
    return CampaignCustomer(
        read_customer(row),
        read_optional_id(row.get("actionid"), "ActionID"),
        read_promo_codes(row.get("promocode")),
    )


def _read_interaction_customer(row: Mapping[str, Any], asked: int) -> InteractionCustomer:
    return InteractionCustomer(
        read_customer(row),
        read_optional_id(row.get("campaignid"), "CampaignID"),
        read_optional_id(row.get("templateid"), "TemplateID"),
        read_asked(row, asked),
    )


def _read_interaction(row: Mapping[str, Any]) -> ChannelInteraction:
    return ChannelInteraction(
        read_date(row.get("date"), "Date"),
        read_optional_id(row.get("campaignid"), "CampaignID"),
        read_optional_id(row.get("recipientgroupid"), "RecipientGroupID"),
        read_optional_id(row.get("actionid"), "ActionID"),
        read_optional_id(row.get("channelid"), "ChannelID"),
        read_optional_id(row.get("templateid"), "TemplateID"),
        read_id(row.get("eventid"), "EventID"),
    )


def _read_failed(body: bytes) -> list[str]:
    if not body.strip():
        return []
    failed = read_object(body).get("failedcustomerids") or []
    if not isinstance(failed, list):
        raise Unreadable("FailedCustomerIDs is not a list")
    return [read_customer({"customerid": customer_id}) for customer_id in failed]
