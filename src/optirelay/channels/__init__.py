"""The promise of a channel: our side of one delivery provider. One file a provider, found by its entry point."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any, ClassVar, Protocol

from optirelay.model import Answer, ChannelKind, Contract, Outgoing, Sid


class Wire(Protocol):
    """Where a channel tells what begins and what was answered, message by message and at once."""

    async def begin(self, sid: Sid) -> bool:
        """To be awaited right before the first byte of a message that could deliver it leaves.

        Waits until the message may leave (its slot in the channel's rate). False: it may not leave any more; drop it
        without an answer, it is handed back.
        """

    def answered(self, sid: Sid, answer: Answer) -> None:
        """What became of a message that began. Once for each; one without an answer is in doubt."""


class Channel(Protocol):
    """Hands messages to one provider."""

    contracts: ClassVar[Sequence[Contract]]  # what a repeat may do at the provider: one of these, the first by default
    reported: ClassVar[bool]  # False: a dry run, of which Optimove is told nothing
    takes_mail: ClassVar[bool]  # e-mail comes as a whole message (RFC 5322); False: in parts, as all else does

    @property
    def contract(self) -> Contract:
        """What a repeat does, with these settings."""

    async def send(self, messages: Sequence[Outgoing], wire: Wire) -> None:
        """Hand over each message, as far as the wire lets it begin, and tell each answer on the wire.

        One message never spoils another: what is wrong with one is its answer (`Refused`, `Later`, `Doubtful`).
        Raises TryLater when there is no connection to the provider or it wants to be left alone for a while, and
        NeedsOperator when it takes nothing until a person changes something: nothing further was begun, and what had
        begun has its answer. Several groups may be sent at a time. Cancelled, nothing further begins, and what had
        begun may be without its answer.
        """

    async def probe(self) -> None:
        """Reach the provider and log in, without sending. Raises TryLater or NeedsOperator with the mend."""

    async def aclose(self) -> None:
        """Close what is open; nothing is in hand any more."""


@dataclass(frozen=True, slots=True)
class ChannelSetup:
    """What a channel is built from: its names, the settings of its own table and how it prints."""

    tenant: str
    name: str
    timeout_seconds: float
    options: Any  # the channel's own table of settings, validated (smtp: settings.SmtpSettings), else None
    print_line: Callable[[str], None]
    allow_networks: Sequence[IPv4Network | IPv6Network] = ()  # private ones that outgoing URLs may reach
    kind: ChannelKind = ChannelKind.EMAIL  # what its messages are
    together: int | None = None  # messages that may leave at the same moment without breaking the rate; None: any


ChannelClasses = Mapping[str, Callable[[ChannelSetup], Channel]]
"""Provider name: what builds its channel; from the entry points of `optirelay.channels`."""
