"""A channel's rate over all workers, by the clock of the mail server."""

from datetime import UTC, datetime
from itertools import pairwise

from tests.channels.smtp_servers import Mailbox, aiosmtpd_server
from tests.conftest import MakeSettings
from tests.house import NOBODY_YET, open_house

FOREVER = datetime.max.replace(tzinfo=UTC)


async def received(
    rate: str, people: int, make_settings: MakeSettings, *, page_size: int, send_at: tuple[str, ...] = ("+0s",)
) -> Mailbox:
    """What two workers handed to a mail server: one mail to each of so many people, by send time where it differs."""
    mailbox = Mailbox()
    async with aiosmtpd_server(mailbox) as port:
        smtp = {"host": "127.0.0.1", "port": port, "security": "none"}
        channel = {"provider": "smtp", "from": "Acme <news@acme.example>", "smtp": smtp, "rate": rate}
        async with open_house(
            make_settings, scenario=NOBODY_YET, workers=2, channel=channel, tenant={"page_size": page_size}
        ) as house:
            await house.push(17, html="<p>Hello</p>")
            await house.people(*({"customer_id": f"C-{n}", "EMAIL": f"c{n}@example.com"} for n in range(people)))
            campaign_id = await house.plan(send_at=send_at)
            await house.fire(campaign_id)
            counts = await house.until_state(campaign_id, "complete", seconds=120)
            assert counts.accepted == people
            to = [envelope.rcpt_tos[0].partition("@")[0] for envelope in mailbox.envelopes]
            assert len(to) == len(set(to)) == people
            if len(send_at) > 1:
                planned = [(await house.message(campaign_id, f"C-{name[1:]}")).send_at for name in to]
                behind = sum(a > b for a, b in pairwise(moment or FOREVER for moment in planned))
                assert behind <= 2  # what a busy machine could not begin in time comes a little later
    return mailbox


async def test_two_workers_share_a_rate(make_settings: MakeSettings) -> None:
    mailbox = await received("100/s", 300, make_settings, page_size=75)
    # When they arrive says when they left, but for a busy machine; two workers with a rate each would be at 200.
    assert mailbox.most_in(1) <= 150
    assert mailbox.at[-1] - mailbox.at[0] > 2.5  # nowhere near twice the rate


async def test_a_slow_rate_counts_in_every_window_and_sends_in_order_of_send_time(make_settings: MakeSettings) -> None:
    mailbox = await received("10/2s", 24, make_settings, page_size=1000, send_at=("+3s", "+2s", "+1s"))
    assert mailbox.most_in(1.8) <= 10
    assert mailbox.at[-1] - mailbox.at[0] > 4
