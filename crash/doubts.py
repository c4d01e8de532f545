"""What an operator does at the end: each doubt is looked up where the answer is known, and resolved by command."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from crash.compare import SENT, Verdict
from crash.house import House
from crash.plan import LONGEST_DELAY_SECONDS
from crash.watch import settled

AT_ONCE = 500  # sids in one command
ROUNDS = 5  # what is sent again may fall into doubt again
TOLD_SECONDS = 60.0
_FROZEN = "select id, body from report_batch where state = 'in_doubt'"
_ACCEPTED = """
select coalesce(sum(b.accepted), 0)::int
from batch b join campaign c on c.tenant = b.tenant and c.id = b.campaign where c.campaign_id = %s
"""


async def resolve(house: House, campaign: int, verdict: Verdict) -> None:
    """Resolve all doubts, have Optimove told of the rest, and write down what there was."""
    for number in range(ROUNDS):
        await asyncio.sleep(LONGEST_DELAY_SECONDS + 1)  # what is still on its way arrives
        if not await _resolve_messages(house, verdict, first=number == 0) or verdict.troubles:
            break
        await settled(house, campaign)
    await _tell_the_rest(house, campaign)
    for _ in range(ROUNDS):
        if not await _resolve_reports(house, verdict) or verdict.troubles:
            break
        await _tell_the_rest(house, campaign)


async def _resolve_messages(house: House, verdict: Verdict, *, first: bool) -> bool:
    """Whether there were any: those in the receiver's log are sent, the others are to be sent again."""
    doubts = [row["sid"] for row in await house.listed("doubts", "list")]
    received = {receipt.sid for receipt in house.receiver.receipts()}
    arrived = [sid for sid in doubts if sid in received]
    if first:
        verdict.in_doubt, verdict.in_doubt_arrived = len(doubts), len(arrived)
    if doubts:
        house.say(f"operator: {len(doubts)} messages in doubt, {len(arrived)} of them in the receiver's log")
    await _by_command(house, verdict, "--sent", "the receiver's log has them", arrived)
    await _by_command(house, verdict, "--resend", "the receiver's log lacks them", sorted(set(doubts) - set(arrived)))
    return bool(doubts)


async def _by_command(house: House, verdict: Verdict, how: str, reason: str, sids: Sequence[str]) -> None:
    for start in range(0, len(sids), AT_ONCE):
        await _run(house, verdict, "doubts", "resolve", how, "--reason", reason, *sids[start : start + AT_ONCE])


async def _resolve_reports(house: House, verdict: Verdict) -> bool:
    """Whether there were any: those that the simulator has are sent, the others go again."""
    doubts = await house.listed("doubts", "list", "--reports")
    verdict.reports_in_doubt += len(doubts)
    frozen = {number: json.loads(bytes(body)) for number, body in await house.rows(_FROZEN)}
    told: list[Any] = [call["body"] for call in await house.told("interactions")]
    for doubt in doubts:
        number = int(doubt["id"])
        how = "--sent" if frozen.get(number) in told else "--resend"
        house.say(f"operator: report {number} in doubt, {how}")
        await _run(house, verdict, "doubts", "resolve", how, "--reason", "Optimove says so", "--report", str(number))
    return bool(doubts)


async def _tell_the_rest(house: House, campaign: int) -> None:
    """Have it reported now what is accepted by now, and wait until the simulator has it or nothing more comes."""
    house.say("operator: `optirelay report now`")
    status, out, errors = await house.command("report", "now", "--campaign", str(campaign))
    if status != 0:
        house.say(f"`optirelay report now` exits {status}: {(errors or out).strip()[-300:]}")
    ((accepted,),) = await house.rows(_ACCEPTED, str(campaign))

    async def all_told() -> bool:
        told = [call["body"] for call in await house.told("interactions")]
        sent = [body for body in told if (int(body["CampaignID"]), int(body["EventID"])) == (campaign, SENT)]
        return sum(len(body["CustomerIDs"]) for body in sent) >= int(accepted)

    for _ in range(int(TOLD_SECONDS)):
        if await all_told() or await house.rows("select 1 from report_batch where state = 'in_doubt'"):
            return
        await asyncio.sleep(1)


async def _run(house: House, verdict: Verdict, *words: str) -> None:
    status, out, errors = await house.command(*words)
    if status != 0:
        said = (errors or out).strip()[-300:]
        trouble = f"`optirelay {' '.join(words[:3])}` exits {status}: {said}"
        if trouble not in verdict.troubles:
            verdict.troubles.append(trouble)
