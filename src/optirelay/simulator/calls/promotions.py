"""Promotions: which there are, who may have them, and the gateway that is asked before a trigger fires."""

from optirelay.simulator.calls.call import Call, Told, check_web_address
from optirelay.simulator.errors import Refused
from optirelay.simulator.fields import Fields, read_array

MAX_PROMOTIONS = 100  # github nicolasramy/optimove
# https://developer.optimove.com/reference/post_integrations-updatecustomerpromotionstatus
MAX_STATUSES = 10_000
# https://developer.optimove.com/reference/put_triggered-conditional-execution-gateway; what the field is called could
# not be read there.
GATEWAY_FIELDS = ("GatewayURL", "URL", "CallbackURL", "EndpointURL")


def add_promotions(told: Told) -> None:
    """All of them or none; a known code gets the new name (github nicolasramy/optimove)."""
    rows = [Fields(row) for row in read_array(told.body, MAX_PROMOTIONS, "promotions")]
    told.tenant.promotions.update({fields.text("PromoCode"): fields.text("PromotionName") for fields in rows})


def get_promotions(told: Told) -> list[dict[str, str]]:
    """All promotions (github nicolasramy/optimove)."""
    return [{"PromoCode": code, "PromotionName": name} for code, name in told.tenant.promotions.items()]


def delete_promotions(told: Told) -> None:
    """All of them or none (github nicolasramy/optimove)."""
    codes = [Fields(row).text("PromoCode") for row in read_array(told.body, MAX_PROMOTIONS, "promotions")]
    for code in codes:
        told.check_there(code in told.tenant.promotions, f"PromoCode {code}")
    for code in codes:
        told.tenant.promotions.pop(code, None)


def update_customer_promotion_status(told: Told) -> None:
    """Who of a campaign on hold may have its promotions; the campaign will run for these alone.

    https://developer.optimove.com/reference/post_integrations-updatecustomerpromotionstatus. What a campaign that is
    not on hold gets is not documented.
    """
    fields = Fields(told.body)
    fields.text("TimeStamp")
    campaign_id = fields.number("CampaignID")
    statuses = {row.text("CustomerID"): row.truth("Status") for row in fields.rows("PromosUpdated", MAX_STATUSES)}
    campaigns = told.world.campaigns_with(campaign_id, told.tenant.tenant_id)
    waiting = [campaign for campaign in campaigns if campaign.state == "on_hold"]
    if not waiting:
        raise Refused(f"CampaignID {campaign_id} does not wait for clearance.")
    for campaign in waiting:
        campaign.cleared.update(statuses)


def set_gateway(told: Told) -> None:
    """The one address that is asked before a trigger fires for a customer; a new one replaces the old.

    https://developer.optimove.com/reference/put_triggered-conditional-execution-gateway
    """
    fields = Fields(told.body)
    name = next((name for name in GATEWAY_FIELDS if fields.value(name) is not None), GATEWAY_FIELDS[0])
    told.tenant.gateway = check_web_address(fields.text(name), name)


CALLS = (
    Call("POST", "integrations", "AddPromotions", add_promotions, "promotions"),
    Call("GET", "integrations", "GetPromotions", get_promotions),
    Call("POST", "integrations", "DeletePromotions", delete_promotions, "promotions"),
    Call("POST", "integrations", "UpdateCustomerPromotionStatus", update_customer_promotion_status, "promotions"),
    Call("PUT", "", "triggered_conditional_execution_gateway", set_gateway, "gateway"),
)
