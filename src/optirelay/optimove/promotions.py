"""Promotions: the codes that marketers give away, and who may get a campaign that carries one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ._call import Call
from ._read import read_list, read_note, read_nothing, read_text
from ._write import check_limit, time_to_wire

MAX_PROMOTIONS = 100  # a call; Optimove's older documentation
MAX_PROMOTION_STATUSES = 10_000  # customers a call of UpdateCustomerPromotionStatus


@dataclass(frozen=True)
class Promotion:
    """A code with the name that marketers pick it by."""

    promo_code: str
    promotion_name: str


def add_promotions(promotions: Sequence[Promotion], *, limit: int = MAX_PROMOTIONS) -> Call[None]:
    """Offer codes to marketers.

    At most `limit` a call; more is a ValueError, and so is a promotion without a code or a name. What Optimove does
    with a code that it already has is not documented.

    github nicolasramy/optimove
    """
    check_limit(promotions, limit, "promotions")
    if nameless := [
        one.promo_code for one in promotions if not one.promo_code.strip() or not one.promotion_name.strip()
    ]:
        raise ValueError(f"Optimove takes no promotion without a code and a name: {nameless}")
    body = [{"PromoCode": one.promo_code, "PromotionName": one.promotion_name} for one in promotions]
    return Call("POST", "/integrations/AddPromotions", read_nothing, body=body)


def get_promotions() -> Call[list[Promotion]]:
    """The codes that marketers can pick. A row without a code is unreadable.

    github nicolasramy/optimove
    """
    return Call("GET", "/integrations/GetPromotions", read_list(_read_promotion))


def delete_promotions(promo_codes: Sequence[str], *, limit: int = MAX_PROMOTIONS) -> Call[None]:
    """Offer these codes no longer.

    At most `limit` a call; more is a ValueError. What Optimove answers for a code that it does not have is not
    documented.

    github nicolasramy/optimove
    """
    check_limit(promo_codes, limit, "promotions")
    body = [{"PromoCode": promo_code} for promo_code in promo_codes]
    return Call("POST", "/integrations/DeletePromotions", read_nothing, body=body)


def update_customer_promotion_status(
    campaign_id: int, statuses: Mapping[str, bool], at: datetime, *, limit: int = MAX_PROMOTION_STATUSES
) -> Call[None]:
    """Approve customers (by id: True) of a campaign that waits for it, or do not; `at` is when this was decided.

    For `get_processed_campaign_customers`, in as many calls as it takes, until the time that the event of type 5 names
    (ClearanceRequiredBy): then the campaign goes to those alone who were reported with True. At most `limit` customers
    a call; more is a ValueError, and so is a time without a zone. That a later word replaces the one before, so that
    the call is repeatable, is INFERRED.

    https://developer.optimove.com/reference/post_integrations-updatecustomerpromotionstatus
    """
    check_limit(statuses, limit, "customers")
    body: dict[str, Any] = {
        "TimeStamp": time_to_wire(at),
        "CampaignID": campaign_id,
        "PromosUpdated": [{"CustomerID": customer_id, "Status": status} for customer_id, status in statuses.items()],
    }
    return Call("POST", "/integrations/UpdateCustomerPromotionStatus", read_nothing, body=body)


def set_triggered_conditional_execution_gateway(url: str) -> Call[None]:
    """Have Optimove ask this URL, in real time, whether a customer may get a triggered campaign.

    There is one for the whole tenant: a new one replaces the old, so the call is repeatable. What is asked and answered
    is on the page; the name of the one field that is sent here, "url", is INFERRED. ValueError for an empty URL.

    https://developer.optimove.com/reference/put_triggered-conditional-execution-gateway
    """
    if not url.strip():
        raise ValueError("The URL of a gateway is not empty")
    return Call("PUT", "/triggered_conditional_execution_gateway", read_nothing, body={"url": url})


def _read_promotion(row: Mapping[str, Any]) -> Promotion:
    return Promotion(read_text(row.get("promocode"), "PromoCode"), read_note(row.get("promotionname"), "PromotionName"))
