"""One notification, one message: while the web process and the workers are killed."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle, islice

from crash.cases._campaign import Case
from crash.compare import Verdict
from crash.house import WEB, WORKERS, House, Wanted, open_house
from crash.plan import Kill
from crash.run import LOOK_SECONDS, strike
from crash.sender import CONNECTIONS, Sender
from crash.triggers import CAMPAIGNS, DUPLICATES, Trigger, shuffled_bodies, triggers
from crash.watch import STILL_SECONDS, StandsStill

VICTIMS = (WORKERS[0], WEB, WORKERS[1], WEB)  # in turn
EARLIEST, LATEST = 0.05, 0.9  # the part of all that is behind when a kill falls
_OPEN = """
select (select count(*) from notification where state = 'new'), (select count(*) from batch where done_at is null)
"""


async def triggered(case: Case) -> Verdict:
    """Notifications of type 11, shuffled, over 8 connections; a tenth of them are duplicates.

    Half of the duplicates are the same bytes, half are spelled otherwise. Meanwhile the web process and both workers
    are killed (kill -9), and what was not answered is sent again until it is. Each distinct notification reaches a
    webhook's receiver that honours ids exactly once, with its own template; the ledger has handed over as many as
    there are distinct ones, all of them are accepted, and none is in doubt.
    """
    dice = random.Random(case.seed)
    duplicates = int(case.messages * DUPLICATES)
    distinct = triggers(dice, case.messages - duplicates)
    bodies = shuffled_bodies(dice, distinct, duplicates)
    wanted = Wanted(
        channel="webhook", contract="keyed", customers=100, takeover_after=case.takeover_after, say=case.say
    )
    async with open_house(case.folder, wanted) as house:
        house.start(WEB, *WORKERS)
        await house.ready()
        sender = Sender(house.listen, f"/optimove/acme/{house.secret}", bodies)
        verdict = Verdict(expected=len(distinct))
        began_at = time.time()
        await _under_kills(house, sender, _kills(dice, case.kills), verdict, distinct=len(distinct), posted=len(bodies))
        _who_got_what(verdict, house, distinct, began_at)
        for campaign_id in CAMPAIGNS:
            await _audit(house, verdict, campaign_id, [one for one in distinct if one.campaign_id == campaign_id])
        _what_was_posted(verdict, sender, posted=len(bodies), duplicates=duplicates)
        return verdict


# --- sending under kills ----------------------------------------------------------------------------------------------


def _kills(dice: random.Random, count: int) -> list[Kill]:
    return sorted(Kill(dice.uniform(EARLIEST, LATEST), 0.0, victim, 0.0) for victim in islice(cycle(VICTIMS), count))


async def _under_kills(
    house: House, sender: Sender, kills: Sequence[Kill], verdict: Verdict, *, distinct: int, posted: int
) -> None:
    """Post all of it, and wait until it is sent. The web process is killed by what is answered, workers by arrivals."""
    fallen: list[Kill] = []
    behind: dict[bool, Callable[[], float]] = {
        True: lambda: sender.answered / posted,
        False: lambda: house.receiver.count / distinct,
    }
    killing = [
        asyncio.create_task(_kill(house, [kill for kill in kills if (kill.victim == WEB) is web], part, fallen))
        for web, part in behind.items()
    ]
    try:
        await sender.run()
        house.say(f"{sender.answered} notifications are answered, {house.receiver.count} messages have arrived")
        await _settled(house)
        house.say("no message is planned or being sent any more")
        await asyncio.wait(killing, timeout=1)  # one that is due falls
    except StandsStill as still:
        verdict.troubles.append(str(still))
    for task in killing:
        task.cancel()
    await asyncio.gather(*killing, return_exceptions=True)
    verdict.more = [("kills", f"{len(fallen)}: " + ", ".join(kill.victim for kill in fallen))]
    if len(fallen) < len(kills):
        verdict.troubles.append(
            f"only {len(fallen)} of {len(kills)} kills fell, so that this shows less than it should"
        )


async def _kill(house: House, kills: Sequence[Kill], behind: Callable[[], float], fallen: list[Kill]) -> None:
    for kill in kills:
        while behind() < kill.at:
            await asyncio.sleep(LOOK_SECONDS)
        await strike(house, kill)
        fallen.append(kill)


async def _settled(house: House) -> None:
    """Wait until every notification is read and every batch is done. StandsStill."""
    moved_at, before = time.monotonic(), (-1, -1, -1)
    while True:
        ((unread, open_batches),) = await house.rows(_OPEN)
        if not unread and not open_batches:
            return
        now = (unread, open_batches, house.receiver.count)
        if now != before:
            moved_at, before = time.monotonic(), now
        if time.monotonic() - moved_at > STILL_SECONDS:
            raise StandsStill(f"{unread} notifications and {open_batches} batches stand still")
        await asyncio.sleep(0.5)


# --- comparing --------------------------------------------------------------------------------------------------------


def _who_got_what(verdict: Verdict, house: House, distinct: Sequence[Trigger], began_at: float) -> None:
    """Each notification has a number of its own, so that the receipts alone tell which of them reached its customer."""
    receipts = house.receiver.receipts()
    delivered = [receipt for receipt in receipts if not receipt.again]
    verdict.arrived, verdict.repeats = len(delivered), len(receipts) - len(delivered)
    meant = {str(one.number): one for one in distinct}
    times = Counter(receipt.number for receipt in delivered)
    verdict.lost = [str(one) for number, one in meant.items() if not times[number]]
    verdict.doubled = [str(one) for number, one in meant.items() if times[number] > 1]
    verdict.strangers = [
        f"{receipt.to} (number {receipt.number}, template {receipt.template_id})"
        for receipt in delivered
        if (one := meant.get(receipt.number)) is None
        or (receipt.to, receipt.template_id) != (one.address, one.template_id)
    ]
    if delivered:
        last = max(receipt.at for receipt in delivered) - began_at
        verdict.more.append(("messages arrived, a second", f"{len(delivered) / last:.0f}"))


async def _audit(house: House, verdict: Verdict, campaign_id: str, distinct: Sequence[Trigger]) -> None:
    """What the operator is shown must be what was posted."""
    words = ("campaigns", "show", campaign_id, "--kind", "triggered", "--audit", "--json")
    house.say(f"operator: `optirelay {' '.join(words)}`")
    status, out, errors = await house.command(*words)
    if status != 0:
        verdict.troubles.append(f"`optirelay {' '.join(words)}` exits {status}: {(errors or out).strip()[-500:]}")
    try:
        shown = json.loads(out)
    except ValueError:
        return
    templates = Counter(str(one.template_id) for one in distinct)
    expected = {
        "handed_over": len(distinct),
        "planned": 0,
        "sending": 0,
        "accepted": len(distinct),
        "skipped": {},
        "refused": {},
        "in_doubt": 0,
        "balanced": True,
        "templates": {number: {"accepted": count} for number, count in sorted(templates.items())},
    }
    verdict.accepted += shown["accepted"]
    verdict.in_doubt += shown["in_doubt"]
    verdict.troubles += [
        f"campaign {campaign_id}: {key} is {shown.get(key)}, not {value}"
        for key, value in expected.items()
        if shown.get(key) != value
    ]


def _what_was_posted(verdict: Verdict, sender: Sender, *, posted: int, duplicates: int) -> None:
    repeats = sender.repeats.total()
    verdict.more += [
        ("notifications", str(posted)),
        ("  of them duplicates", f"{duplicates}: half of them in the same bytes"),
        ("  posted over", f"{CONNECTIONS} connections, in {sender.seconds:.1f} s"),
        ("  answered, a second", f"{sender.answered / sender.seconds:.0f}"),
        ("  sent again, not answered or 503", str(repeats)),
    ]
    verdict.troubles += [
        f"{count} notifications were answered with {status}" for status, count in sender.wrong_answers.items()
    ]
