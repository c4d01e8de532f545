"""The channel of the benchmarks: takes everything at once and keeps nothing."""

from collections.abc import Sequence
from typing import ClassVar

from optirelay.channels import ChannelSetup, Wire
from optirelay.model import Accepted, Contract, Outgoing


class NullChannel:
    """Accepts every message; nobody receives any. Reported like a real one, so that the whole journey is measured."""

    contract: ClassVar[Contract] = Contract.HOLD
    contracts: ClassVar[Sequence[Contract]] = (Contract.HOLD,)
    reported: ClassVar[bool] = True
    takes_mail: ClassVar[bool] = True

    def __init__(self, setup: ChannelSetup) -> None:
        del setup  # nothing about it can be set

    async def send(self, messages: Sequence[Outgoing], wire: Wire) -> None:
        """Accept each message that may leave."""
        accepted = Accepted()
        for mail in messages:
            if await wire.begin(mail.sid):
                wire.answered(mail.sid, accepted)

    async def probe(self) -> None:
        """There is nothing to reach."""

    async def aclose(self) -> None:
        """There is nothing to close."""
