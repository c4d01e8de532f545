"""E-mail over SMTP submission."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from optirelay.channels import ChannelSetup, Wire
from optirelay.channels.smtp.connections import GOODBYE_SECONDS, IDLE_SECONDS, Connection, Connections
from optirelay.channels.smtp.login import Login, Secret, SmtpOptions
from optirelay.channels.smtp.session import Cut
from optirelay.errors import TryLater
from optirelay.model import Contract, Later, Outgoing

__all__ = ["ANSWER_SECONDS", "Secret", "SmtpChannel", "SmtpOptions"]

ANSWER_SECONDS = 300.0
"""How long the answer after the final dot may take; a server may work for long before it takes responsibility."""


class SmtpChannel:
    """Hands each message to one SMTP server, over a few connections side by side that stay open between groups.

    A message begins on the wire right before its MAIL FROM, on a connection that is ready. After DATA's 354 it would be
    too late to hand it back: the only way out from there is to cut the connection. In return a failure before the
    content never counts as doubt: the message goes on another connection or is Later. Only a worker that dies between
    MAIL FROM and the content leaves a doubt more than need be.

    Not to be used from two event loops.
    """

    contract: ClassVar[Contract] = Contract.HOLD  # the final dot twice is the mail twice
    contracts: ClassVar[Sequence[Contract]] = (Contract.HOLD,)
    reported: ClassVar[bool] = True
    takes_mail: ClassVar[bool] = True

    def __init__(
        self, setup: ChannelSetup, *, answer_seconds: float = ANSWER_SECONDS, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        options: SmtpOptions = setup.options
        self._login = Login(options, timeout_seconds=setup.timeout_seconds, answer_seconds=answer_seconds)
        self._wanted = options.connections
        self._connections = Connections(self._login, options.connections, idle_seconds=idle_seconds)
        self._lanes: set[asyncio.Task[None]] = set()

    async def send(self, messages: Sequence[Outgoing], wire: Wire) -> None:
        """Hand over each message; returns or raises once none is in hand. Several groups may be sent at a time.

        Raises TryLater when no connection can be had or the server wants another log-in; fewer connections than wanted
        are no error. Cancelled, it closes the connections in use; what had begun stays without an answer.
        """
        if not messages:
            return
        work = _Work(messages, wire)
        self._connections.give(await self._connections.take())  # one try, not ten, at a server that is down
        lanes = [asyncio.create_task(self._lane(work)) for _ in range(min(self._wanted, len(messages)))]
        self._lanes.update(lanes)
        for lane in lanes:
            lane.add_done_callback(self._lanes.discard)
        await _until_done(lanes, work)
        if work.trouble is not None:
            raise work.trouble

    async def probe(self) -> None:
        """Connect, encrypt, log in, ask for a sign of life, say goodbye. Raises TryLater with the mend."""
        session = await self._login.open()
        try:
            await session.noop()
        except Cut as cut:
            raise TryLater(f"{self._login.server} lets us in and then fails: {cut}; try again later") from cut
        finally:
            session.leave()
            await session.closed(GOODBYE_SECONDS)

    async def aclose(self) -> None:
        """Close all connections."""
        lanes = list(self._lanes)
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
        await self._connections.aclose()

    async def _lane(self, work: "_Work") -> None:
        """Message after message, each on the next free connection, so that two groups get their turns in between.

        A lane that is still connecting when the work is done finishes by itself: its connection serves the next group.
        """
        while work.goes_on:
            try:
                connection = await self._connections.take()
            except TryLater as error:
                work.trouble = error if work.waiting else work.trouble
                return
            try:
                await work.hand_over_next(connection)
            finally:
                self._connections.give(connection)


class _Work:
    """One call of send: what waits, how many are in hand, and what stopped it."""

    def __init__(self, messages: Sequence[Outgoing], wire: Wire) -> None:
        self.waiting = deque(messages)
        self.trouble: TryLater | None = None
        self._wire = wire
        self._in_hand = 0

    @property
    def goes_on(self) -> bool:
        """Whether another message is to begin."""
        return bool(self.waiting) and self.trouble is None

    @property
    def done(self) -> bool:
        """Whether nothing more will happen."""
        return not self.goes_on and self._in_hand == 0

    async def hand_over_next(self, connection: Connection) -> None:
        """Hand over the next message, if there is one and the wire lets it begin, and tell the answer."""
        if not self.goes_on:
            return
        mail = self.waiting.popleft()
        self._in_hand += 1
        try:
            if await self._wire.begin(mail.sid):
                try:
                    answer = await connection.hand_over(mail)
                except TryLater as error:
                    answer = Later(str(error))
                    self.trouble = error
                self._wire.answered(mail.sid, answer)
        finally:
            self._in_hand -= 1


async def _until_done(lanes: Sequence["asyncio.Task[None]"], work: _Work) -> None:
    """Wait for the work, not for lanes that came too late for it; together with the waiting all of them end."""
    running = set(lanes)
    try:
        while running and not work.done:
            finished, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for lane in finished:
                lane.result()
    except BaseException:
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
        raise
