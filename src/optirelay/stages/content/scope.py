"""What a template can look up for one recipient."""

from collections.abc import Collection, Mapping

from optirelay.model import CampaignId, Message, is_nobody

Scope = Mapping[str, object]


def scope_of(message: Message, campaign_id: CampaignId, unsubscribe_url: str, names: Collection[str]) -> Scope:
    """The recipient's personalization, and what is built in. What a trigger tells of has names without regard to case:
    it is there under the `names` that the template looks up."""
    scope: dict[str, object] = {
        **message.personalization,
        "customer_id": message.customer_id,
        "campaign_id": campaign_id,
        "promo_codes": [],
        "unsubscribe_url": unsubscribe_url,
    }
    if message.fired is not None:
        said = {name.lower(): value for name, value in message.personalization.items()}
        scope.update({name: said[name.lower()] for name in names if name not in scope and name.lower() in said})
        scope["customer_id"] = "" if is_nobody(message.customer_id) else message.customer_id
        scope["promo_codes"] = list(message.fired.promo_codes)
    return scope
