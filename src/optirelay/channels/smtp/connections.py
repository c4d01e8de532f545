"""The connections to one server, shared by all groups that are being sent; kept open between them."""

import asyncio
import time

import structlog

from optirelay.channels.smtp.login import Login
from optirelay.channels.smtp.session import Cut, LogInMissing, Session
from optirelay.errors import TryLater
from optirelay.model import Answer, Later, Outgoing

IDLE_SECONDS = 30.0
"""How long a connection that nobody uses stays open."""
MORE_AFTER_SECONDS = 60.0
"""How long the connections that could be had must do, after the server would not give us a further one."""
GOODBYE_SECONDS = 2.0

log = structlog.get_logger(__name__)


class Connection:
    """One of the channel's connections, open or not; opened when it is needed. Serves one message at a time."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._session: Session | None = None

    @property
    def alive(self) -> bool:
        """Whether it is open, as far as we know."""
        return self._session is not None and self._session.alive

    async def ready(self) -> None:
        """Open it if it is not, or not any more. Raises TryLater."""
        if self._session is not None and not await self._session.still_there():
            self.drop()
        if self._session is None:
            self._session = await self._login.open()

    async def hand_over(self, mail: Outgoing) -> Answer:
        """Hand over one message that has begun.

        A connection that was open before may have been closed by the server at any time. Nothing is taken before the
        final dot, so the message then goes on a new one; what a new one does is the server's answer to this message.
        Raises TryLater when the server wants another log-in: the message was not taken.
        """
        try:
            while True:
                session = self._session = self._session or await self._login.open()
                try:
                    return await session.hand_over(mail)
                except Cut as cut:
                    self.drop()
                    if not session.used:
                        return Later(str(cut))
        except TryLater as error:
            return Later(str(error))
        except LogInMissing as missing:
            self.drop()
            raise self._login.refused(missing.reply.code, missing.reply.text) from None
        except BaseException:  # cancelled: nobody knows where the conversation stands
            self.drop()
            raise

    def rest(self) -> None:
        """Nothing is in hand; a time without use begins."""
        if self._session is not None:
            self._session.used = True
            self._session.idle_since = time.monotonic()

    def idle_seconds(self) -> float:
        """How long it has been open and unused."""
        return time.monotonic() - self._session.idle_since if self._session is not None else 0.0

    def drop(self) -> None:
        """Close at once."""
        if self._session is not None:
            self._session.drop()
            self._session = None

    def leave(self) -> Session | None:
        """Say goodbye; gives the session that now closes, if one was open."""
        session, self._session = self._session, None
        if session is not None:
            session.leave()
        return session


class Connections:
    """At most `wanted` connections to one server. Whoever waits longest gets the next one that is free."""

    def __init__(self, login: Login, wanted: int, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._login = login
        self._idle_seconds = idle_seconds
        self._all = [Connection(login) for _ in range(wanted)]
        self._free = list(self._all)  # the open ones at the end, the last used last
        self._slots = asyncio.Semaphore(wanted)  # as many as are free
        self._timers: set[asyncio.TimerHandle] = set()
        self._idle_timer: asyncio.TimerHandle | None = None

    async def take(self) -> Connection:
        """A connection that is ready. Raises TryLater when not a single one can be had.

        While others are open, one that cannot be opened is left alone for a while: servers limit how many they give.
        """
        while True:
            await self._slots.acquire()
            connection = self._free.pop()
            try:
                await connection.ready()
            except TryLater as error:
                if not any(other.alive for other in self._all):
                    self.give(connection)
                    raise
                self._give_later(connection, str(error))
            except BaseException:
                connection.drop()
                self.give(connection)
                raise
            else:
                return connection

    def give(self, connection: Connection) -> None:
        """Take a connection back."""
        connection.rest()
        if connection.alive:
            self._free.append(connection)
        else:
            self._free.insert(0, connection)
        self._slots.release()
        if self._idle_timer is None:
            self._look_later(self._idle_seconds)

    async def aclose(self) -> None:
        """Close all; nothing is in hand any more."""
        for timer in self._timers:
            timer.cancel()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        leaving = [session for connection in self._all if (session := connection.leave())]
        await asyncio.gather(*(session.closed(GOODBYE_SECONDS) for session in leaving))

    def _give_later(self, connection: Connection, why: str) -> None:
        count = sum(other.alive for other in self._all)
        log.info("smtp_fewer_connections", server=self._login.server, open=count, wanted=len(self._all), why=why)
        loop = asyncio.get_running_loop()
        self._timers = {timer for timer in self._timers if timer.when() > loop.time()}
        self._timers.add(loop.call_later(MORE_AFTER_SECONDS, self.give, connection))

    def _look_later(self, seconds: float) -> None:
        self._idle_timer = asyncio.get_running_loop().call_later(seconds, self._close_idle)

    def _close_idle(self) -> None:
        self._idle_timer = None
        for connection in self._free:
            if connection.idle_seconds() >= self._idle_seconds:
                connection.leave()
        if any(connection.alive for connection in self._all):
            self._look_later(self._idle_seconds / 2)
