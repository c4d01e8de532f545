"""A channel to the receiver that honours keys: one message at a time on each of ten connections, JSON both ways."""

import asyncio
import json
import os
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from optirelay.channels import ChannelSetup, Wire
from optirelay.errors import TryLater
from optirelay.model import Accepted, Answer, Contract, Doubtful, Later, Outgoing

CONNECTIONS = 10
PORT = "CRASH_KEYED_PORT"


class Cut(Exception):
    """The connection ended; `written` tells whether a message may have been taken."""

    def __init__(self, why: str, *, written: bool) -> None:
        super().__init__(why)
        self.written = written


class KeyedChannel:
    """Hands each message over with its sid as key; the receiver takes the same key once, so a repeat does no harm."""

    contract: ClassVar[Contract] = Contract("keyed")
    reported: ClassVar[bool] = True

    def __init__(self, setup: ChannelSetup) -> None:
        self._timeout_seconds = setup.timeout_seconds
        self._port = int(os.environ[PORT])
        self._free: list[_Connection] = []
        self._places = asyncio.Semaphore(CONNECTIONS)

    async def send(self, messages: Sequence[Outgoing], wire: Wire) -> None:
        """Hand over each message. Raises TryLater without a connection; what had begun has its answer."""
        waiting = deque(messages)
        lanes = [asyncio.create_task(self._lane(waiting, wire)) for _ in range(min(CONNECTIONS, len(messages)))]
        try:
            troubles = await asyncio.gather(*lanes)
        except BaseException:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
            raise
        for trouble in troubles:
            if trouble is not None and waiting:
                raise trouble

    async def _lane(self, waiting: deque[Outgoing], wire: Wire) -> TryLater | None:
        """Message after message on one connection at a time, until none waits or no connection is to be had."""
        while waiting:
            async with self._places:
                try:
                    connection = await self._take()
                except TryLater as error:
                    return error
                if not waiting:
                    self._free.append(connection)
                    return None
                mail = waiting.popleft()
                try:
                    if await wire.begin(mail.sid):
                        wire.answered(mail.sid, await self._hand_over(connection, mail))
                    else:
                        self._free.append(connection)
                except BaseException:
                    connection.drop()
                    raise
        return None

    async def _hand_over(self, connection: "_Connection", mail: Outgoing) -> Answer:
        try:
            answer = await connection.hand_over(mail)
        except Cut as cut:
            connection.drop()
            return Doubtful(str(cut)) if cut.written else Later(str(cut))
        self._free.append(connection)
        return answer

    async def _take(self) -> "_Connection":
        """An open connection, a new one where none is free. TryLater."""
        while self._free:
            connection = self._free.pop()
            if connection.alive:
                return connection
            connection.drop()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return _Connection(*await asyncio.open_connection("127.0.0.1", self._port), self._timeout_seconds)
        except OSError as error:  # a TimeoutError is one
            raise TryLater(f"no connection to the receiver: {error}") from error

    async def probe(self) -> None:
        """Reach the receiver. Raises TryLater."""
        self._free.append(await self._take())

    async def aclose(self) -> None:
        """Close what is open."""
        while self._free:
            self._free.pop().drop()


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_seconds: float) -> None:
        self._reader, self._writer = reader, writer
        self._timeout_seconds = timeout_seconds

    @property
    def alive(self) -> bool:
        return not (self._writer.is_closing() or self._reader.at_eof())

    async def hand_over(self, mail: Outgoing) -> Answer:
        """Raises Cut, with what it means."""
        if not self.alive:
            raise Cut("the connection was closed", written=False)
        asked = {"key": mail.sid, "to": mail.to, "template_id": mail.template_id}
        self._writer.write(json.dumps(asked).encode() + b"\n")
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = json.loads(await self._reader.readuntil(b"\n"))
        except (OSError, EOFError, ValueError) as error:
            raise Cut(f"no answer after the message was written: {error}", written=True) from error
        if answer.get("status") != "accepted":
            raise Cut("an answer that nobody understands", written=True)
        return Accepted(mail.sid)

    def drop(self) -> None:
        self._writer.transport.abort()
