"""What a template can look up for one recipient."""

from collections.abc import Mapping

from optirelay.model import CampaignId, Message

Scope = Mapping[str, object]


def scope_of(message: Message, campaign_id: CampaignId, unsubscribe_url: str) -> Scope:
    """The recipient's personalization, and what is built in."""
    return {
        **message.personalization,
        "customer_id": message.customer_id,
        "campaign_id": campaign_id,
        "promo_codes": [],
        "unsubscribe_url": unsubscribe_url,
    }
