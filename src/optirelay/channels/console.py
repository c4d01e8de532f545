"""The dry run: prints a line for each message instead of sending it."""

from collections.abc import Sequence
from typing import ClassVar

from optirelay.channels import ChannelSetup, Wire
from optirelay.model import Accepted, Contract, Outgoing


class ConsoleChannel:
    """Prints what would leave; Optimove is told nothing of it."""

    contract: ClassVar[Contract] = Contract.HOLD
    contracts: ClassVar[Sequence[Contract]] = (Contract.HOLD,)
    reported: ClassVar[bool] = False
    takes_mail: ClassVar[bool] = True

    def __init__(self, setup: ChannelSetup) -> None:
        self._print_line = setup.print_line

    async def send(self, messages: Sequence[Outgoing], wire: Wire) -> None:
        """Print a line for each message that may leave."""
        for mail in messages:
            if await wire.begin(mail.sid):
                self._print_line(line_of(mail))
                wire.answered(mail.sid, Accepted())

    async def probe(self) -> None:
        """There is nothing to reach."""

    async def aclose(self) -> None:
        """There is nothing to close."""


def line_of(mail: Outgoing) -> str:
    """One line without a time, the same on every run: ids, the address masked, the subject.

    What would move the cursor, colour the terminal or turn the line around is shown as an escape.
    """
    who = f"{mail.sid} campaign {mail.campaign_id} customer {mail.customer_id} template {mail.template_id}"
    return visible(f"{who} to {masked(mail.to)}: {mail.subject}")


def masked(address: str) -> str:
    """The address as an operator may see it: "ann@example.com" is "a…@example.com"."""
    name, at, domain = address.rpartition("@")
    return f"{name[:1]}…{at}{domain}" if at else "…"


def visible(text: str) -> str:
    """The text with every character that does not print written as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
