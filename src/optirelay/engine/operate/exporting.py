"""A whole campaign as rows of text, one message each, without holding it in memory."""

import re
from collections.abc import AsyncIterator

from optirelay.engine.context import Context
from optirelay.engine.operate.looking import iso, masked, tenants_of, without_addresses
from optirelay.errors import NeedsOperator
from optirelay.model import CampaignId, CampaignKind, ChannelName
from optirelay.stages import outcomes
from optirelay.store.looks import ExportRow
from optirelay.store.sids import sid_of

EXPORT_COLUMNS = (
    "sid",
    "tenant",
    "channel",
    "campaign_id",
    "customer_id",
    "to",
    "template_id",
    "send_at",
    "state",
    "reason",
    "at",
    "provider_id",
    "attempts",
)
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")


async def export(
    ctx: Context,
    tenant: str,
    campaign_id: str,
    channel: str,
    *,
    kind: CampaignKind = CampaignKind.SCHEDULED,
    addresses: bool = False,
) -> AsyncIterator[list[str]]:
    """Every message of a campaign on one channel, of all its days, all as they stood at one moment; cells as
    EXPORT_COLUMNS names them.

    Addresses are masked unless asked for; those in a provider's words always. NeedsOperator where there is no such
    campaign.
    """
    (name,) = tenants_of(ctx, tenant)
    number = ctx.store.number_of(name)
    async with ctx.store.tenant(name).snapshot() as ledger:
        found = await ledger.campaigns.counts(CampaignId(campaign_id), ChannelName(channel), kind)
        if not found:
            raise NeedsOperator(f"there is no {kind} campaign {campaign_id} on channel {channel}")
        async for row in ledger.looks.export(found[0]):
            to = row.address or ""
            shown = to if addresses or not to else masked(to)
            yield [sid_of(number, row.planned_on, row.id), name, *_cells(row, shown)]


def _cells(row: ExportRow, to: str) -> list[str]:
    return [
        row.channel,
        defused(row.campaign_id),
        defused(row.customer_id),
        defused(to),
        "" if row.template_id is None else str(row.template_id),
        iso(row.send_at) or "",
        outcomes.stands(row.state, row.furthest),
        row.reason or "",
        iso(row.at) or "",
        defused(without_addresses(row.provider_id or "")),
        str(row.attempts),
    ]


def defused(cell: str) -> str:
    """What others wrote, so that no spreadsheet takes it for a formula: with an apostrophe before = + - @, a tab or a
    carriage return, unless it is a plain number."""
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell
