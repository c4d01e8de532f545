"""A lane with a channel that fails: one message that breaks it stops nobody else's."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from tests.by_hand import fetched
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, NOBODY_YET, House, open_house

from optirelay.channels import Wire
from optirelay.engine import operate
from optirelay.engine.journal import Journal, journals_in
from optirelay.engine.lane import Lane
from optirelay.engine.starting import slots_of
from optirelay.model import Accepted, Contract, Outgoing

PEOPLE = [{"customer_id": f"C-{n}", "EMAIL": f"c{n}@example.com", "FIRST_NAME": f"N{n}"} for n in range(20)]


class Fragile:
    """A channel that one value breaks, before or after the message began."""

    contract: ClassVar[Contract] = Contract.HOLD
    contracts: ClassVar[Sequence[Contract]] = (Contract.HOLD,)
    reported: ClassVar[bool] = False
    takes_mail: ClassVar[bool] = True

    def __init__(self, *, begins: bool) -> None:
        self.taken: list[str] = []
        self._begins = begins

    async def send(self, messages: Sequence[Outgoing], wire: Wire) -> None:
        for mail in messages:
            poison = mail.customer_id == "C-7"
            if poison and not self._begins:
                raise ValueError(f"no such thing as {mail.to}")
            if await wire.begin(mail.sid):
                if poison:
                    raise ValueError(f"no such thing as {mail.to}")
                self.taken.append(mail.customer_id)
                wire.answered(mail.sid, Accepted())

    async def probe(self) -> None: ...

    async def aclose(self) -> None: ...


async def run_lane(house: House, channel: Fragile, folder: Path) -> None:
    """One lane sends until all but one are taken."""
    ctx = replace(house.ctx, channels={(ACME, NEWSLETTER): channel})
    stop = asyncio.Event()
    with Journal.open(folder, ctx.worker) as journal:
        lane = Lane(ctx, journal, ACME, NEWSLETTER, slots_of(ctx, ACME, NEWSLETTER))
        running = asyncio.create_task(lane.run(stop, may_take=lambda: True))

        async def others_are_taken() -> bool:
            return len(channel.taken) == len(PEOPLE) - 1

        await house.until(others_are_taken)
        stop.set()
        lane.wake()
        await running


@pytest.mark.parametrize("begins", [False, True], ids=["before it begins", "after it began"])
async def test_a_message_that_breaks_the_channel_stops_none_of_the_others(
    make_settings: MakeSettings, tmp_path: Path, *, begins: bool
) -> None:
    async with open_house(
        make_settings,
        workers=0,
        scenario=NOBODY_YET,
        service={"takeover_after": "1m"},  # nobody renews its leases
    ) as house:
        await house.people(*PEOPLE)
        await house.push(17)
        campaign_id = await fetched(house)
        channel = Fragile(begins=begins)
        await run_lane(house, channel, tmp_path / "journals")
        assert sorted(channel.taken) == sorted(set(channel.taken))
        (message,) = await operate.messages(house.ctx, "acme", campaign_id, "C-7")
        if begins:
            assert message["state"] == "in_doubt"
        else:
            assert [attempt["outcome"] for attempt in message["attempts"]] == ["later"]
            assert message["state"] == "planned"  # to be tried again, a try counted
        assert "channel_waiting" not in await house.problems()
        assert journals_in(tmp_path / "journals") == []
        await house.audit()
