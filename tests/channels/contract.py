"""What every channel must do, whatever its provider; a channel's test class inherits it."""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import pytest

from optirelay.channels import Channel
from optirelay.errors import TryLater
from optirelay.model import (
    Accepted,
    Answer,
    CampaignId,
    Contract,
    CustomerId,
    Doubtful,
    Later,
    Outgoing,
    Sid,
    TemplateId,
)


def outgoing(
    sid: str, *, to: str = "ann@example.com", content: bytes | None = None, subject: str = "Hello"
) -> Outgoing:
    """A message that names its sid, so that it is known again where it arrives."""
    return Outgoing(
        sid=Sid(sid),
        campaign_id=CampaignId("90211"),
        customer_id=CustomerId("00042"),
        template_id=TemplateId(17),
        sender="news@acme.example",
        to=to,
        subject=subject,
        content=f"Message-ID: <{sid}@acme.example>\r\nSubject: {subject}\r\n\r\nHello\r\n".encode()
        if content is None
        else content,
        send_at=datetime(2031, 4, 2, 10, tzinfo=UTC),
        personalization={"FIRST_NAME": "Ann"},
        unsubscribe_url=f"https://relay.example.com/u/{sid}",
    )


def group(count: int, prefix: str = "s") -> list[Outgoing]:
    return [outgoing(f"{prefix}{number}") for number in range(count)]


def sids(messages: Sequence[Outgoing]) -> list[Sid]:
    return [mail.sid for mail in messages]


class RecordingWire:
    """A wire that remembers; it holds a channel to the order: begin, then one answer."""

    def __init__(self, *, forbidden: Collection[str] = ()) -> None:
        self.forbidden = set(forbidden)
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun: list[Sid] = []
        self.answers: dict[Sid, Answer] = {}

    async def begin(self, sid: Sid) -> bool:
        await self.gate.wait()
        assert sid not in self.begun, "a message begins once"
        if sid in self.forbidden:
            return False
        self.begun.append(sid)
        return True

    def answered(self, sid: Sid, answer: Answer) -> None:
        assert sid in self.begun, "an answer comes after the beginning"
        assert sid not in self.answers, "one answer for each"
        self.answers[sid] = answer

    def all_accepted(self, messages: Sequence[Outgoing]) -> bool:
        return self.answers.keys() == set(sids(messages)) and all(
            isinstance(answer, Accepted) for answer in self.answers.values()
        )


class ChannelContract:
    """A channel's tests inherit this and bring a fixture `channel`, with a provider behind it that takes everything."""

    reported: bool
    contract = Contract.HOLD

    def arrived(self) -> list[Sid] | None:
        """What the provider took, in any order; None where nobody can tell."""
        raise NotImplementedError

    def assert_arrived(self, expected: Collection[Sid]) -> None:
        arrived = self.arrived()
        assert arrived is None or sorted(arrived) == sorted(expected)

    def test_it_says_what_a_repeat_does_and_whether_optimove_is_told(self, channel: Channel) -> None:
        assert channel.contract is self.contract
        assert channel.contract in channel.contracts
        assert channel.reported is self.reported

    async def test_each_message_begins_arrives_once_and_is_accepted(self, channel: Channel) -> None:
        messages, wire = group(40), RecordingWire()
        await channel.send(messages, wire)
        assert sorted(wire.begun) == sorted(sids(messages))
        assert wire.all_accepted(messages)
        self.assert_arrived(sids(messages))

    async def test_an_empty_group_is_nothing_to_do(self, channel: Channel) -> None:
        wire = RecordingWire()
        await channel.send([], wire)
        assert wire.begun == []
        self.assert_arrived([])

    async def test_one_group_goes_after_another(self, channel: Channel) -> None:
        for prefix in ("a", "b", "c"):
            messages, wire = group(5, prefix), RecordingWire()
            await channel.send(messages, wire)
            assert wire.all_accepted(messages)

    async def test_groups_are_sent_side_by_side(self, channel: Channel) -> None:
        groups = [group(20, prefix) for prefix in ("a", "b", "c")]
        wires = [RecordingWire() for _ in groups]
        await asyncio.gather(*(channel.send(*pair) for pair in zip(groups, wires, strict=True)))
        assert all(wire.all_accepted(messages) for wire, messages in zip(wires, groups, strict=True))
        self.assert_arrived([mail.sid for messages in groups for mail in messages])

    async def test_what_may_not_begin_is_dropped_without_an_answer(self, channel: Channel) -> None:
        messages, wire = group(6), RecordingWire(forbidden={"s1", "s4"})
        await channel.send(messages, wire)
        assert wire.answers.keys() == {"s0", "s2", "s3", "s5"}
        self.assert_arrived([Sid("s0"), Sid("s2"), Sid("s3"), Sid("s5")])

    async def test_nothing_leaves_before_the_wire_lets_it_begin(self, channel: Channel) -> None:
        messages, wire = group(3), RecordingWire()
        wire.gate.clear()
        sending = asyncio.create_task(channel.send(messages, wire))
        await asyncio.sleep(0.1)
        self.assert_arrived([])
        wire.gate.set()
        await sending
        assert wire.all_accepted(messages)

    async def test_a_cancelled_send_begins_nothing_more_and_harms_no_later_group(self, channel: Channel) -> None:
        wire = RecordingWire()
        wire.gate.clear()
        sending = asyncio.create_task(channel.send(group(30), wire))
        await asyncio.sleep(0.1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        wire.gate.set()
        messages, later = group(5, "later"), RecordingWire()
        await channel.send(messages, later)
        assert later.all_accepted(messages)
        assert wire.begun == []
        self.assert_arrived(sids(messages))

    async def test_what_the_wire_raises_comes_out_of_send(self, channel: Channel) -> None:
        class BrokenWire(RecordingWire):
            async def begin(self, sid: Sid) -> bool:
                raise LookupError(sid)

        with pytest.raises(LookupError):
            await channel.send(group(3), BrokenWire())
        self.assert_arrived([])

    async def test_a_probe_reaches_the_provider_and_sends_nothing(self, channel: Channel) -> None:
        await channel.probe()
        self.assert_arrived([])


class HoldChannelContract(ChannelContract):
    """Besides, what a channel must do whose provider would deliver a repeat once more."""

    def lose_the_next_answer(self) -> None:
        """The provider takes the next message and cuts the connection before its answer."""
        raise NotImplementedError

    def cut_before_the_last_byte(self) -> None:
        """The provider cuts the connection before it can have taken the next message, once."""
        raise NotImplementedError

    async def test_a_cut_after_the_last_byte_is_doubtful_and_is_not_repeated(self, channel: Channel) -> None:
        self.lose_the_next_answer()
        messages, wire = group(10), RecordingWire()
        await channel.send(messages, wire)
        answers = list(wire.answers.values())
        assert len([answer for answer in answers if isinstance(answer, Doubtful)]) == 1
        assert len([answer for answer in answers if isinstance(answer, Accepted)]) == 9
        self.assert_arrived(sids(messages))

    async def test_a_cut_before_the_last_byte_is_no_doubt(self, channel: Channel) -> None:
        self.cut_before_the_last_byte()
        messages, wire = group(10), RecordingWire()
        with contextlib.suppress(TryLater):
            await channel.send(messages, wire)
        assert wire.answers.keys() == set(wire.begun)
        assert all(isinstance(answer, Accepted | Later) for answer in wire.answers.values())
        self.assert_arrived([sid for sid, answer in wire.answers.items() if isinstance(answer, Accepted)])


class KeyedChannelContract(ChannelContract):
    """Besides, what a channel must do whose provider knows our ids."""

    contract = Contract.KEYED

    def lose_the_next_answer(self) -> None:
        """The provider takes the next message and cuts the connection before its answer."""
        raise NotImplementedError

    async def test_the_same_message_again_after_a_lost_answer_is_one_at_the_provider(self, channel: Channel) -> None:
        self.lose_the_next_answer()
        messages, wire = group(10), RecordingWire()
        await channel.send(messages, wire)
        lost = [mail for mail in messages if isinstance(wire.answers[mail.sid], Doubtful)]
        assert len(lost) == 1
        again = RecordingWire()
        await channel.send(lost, again)
        assert again.all_accepted(lost)
        self.assert_arrived(sids(messages))

    async def test_a_message_sent_twice_is_accepted_twice_and_arrives_once(self, channel: Channel) -> None:
        messages = group(5)
        for _ in range(2):
            wire = RecordingWire()
            await channel.send(messages, wire)
            assert wire.all_accepted(messages)
        self.assert_arrived(sids(messages))
