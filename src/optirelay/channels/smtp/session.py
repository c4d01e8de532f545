"""One SMTP connection after log-in: hands over one message at a time and knows whether it may have been taken.

aiosmtplib connects, encrypts and logs in. The bytes of the messages are written here, because what a cut means depends
on whether the final dot had been written, and aiosmtplib writes content and dot in one call that does not tell.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from optirelay.model import Accepted, Answer, Doubtful, Later, Outgoing, Refusal, Refused

LOOK_AFTER_SECONDS = 1.0
"""A connection that idled longer is asked whether it is still there before a message begins on it."""
LOOK_SECONDS = 5.0
PIECE_OCTETS = 64 * 1024
DETAIL_CHARACTERS = 300
PROVIDER_ID_CHARACTERS = 200
REPLY_LINES = 100

SERVICE_CLOSING = 421
START_CONTENT = 354
LOG_IN_CODES = frozenset({530, 535})  # RFC 4954: authentication required, credentials invalid

_REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?\r?\n", re.DOTALL)
# Where servers put their id of a message: Postfix, Exim; Sendmail; Amazon SES.
_QUEUE_IDS = (
    re.compile(r"\bqueued as <?([^\s<>]+)", re.IGNORECASE),
    re.compile(r"\bid=([^\s;,]+)", re.IGNORECASE),
    re.compile(r"^2\.\d\.\d (\S{8,}) Message accepted", re.IGNORECASE),
    re.compile(r"^Ok ([0-9a-f][0-9a-f-]{31,})", re.IGNORECASE),
)


class Cut(Exception):
    """The connection ended, or fell out of step, before the final dot of a message was written: nothing was taken."""


@dataclass(frozen=True, slots=True)
class Offers:
    """What the server can do, as its answer to EHLO says."""

    size: int | None = None  # the largest message in octets; 0: it has no limit; None: it does not say
    smtputf8: bool = False
    pipelining: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply: its code and its words in one printable line."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}".strip()[:DETAIL_CHARACTERS]


class LogInMissing(Exception):
    """The server takes no message without a log-in, or takes ours for wrong: nothing was taken."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class Session:
    """An open connection, logged in. Not to be used by two at a time."""

    def __init__(
        self,
        transport: asyncio.Transport,
        offers: Offers,
        *,
        timeout_seconds: float,
        answer_seconds: float,
    ) -> None:
        self._reader, self._writer = _streams(transport)
        self._offers = offers
        self._timeout_seconds = timeout_seconds
        self._answer_seconds = answer_seconds
        self.used = False  # it was given back before, so the server may have closed it since
        self.idle_since = time.monotonic()

    @property
    def alive(self) -> bool:
        """False once either side is known to have closed."""
        return not (self._writer.is_closing() or self._reader.at_eof())

    async def still_there(self) -> bool:
        """Whether a message can begin: the server is asked if the connection idled for long."""
        if not self.alive or time.monotonic() - self.idle_since < LOOK_AFTER_SECONDS:
            return self.alive
        try:
            [reply] = await self._ask(b"RSET", seconds=min(LOOK_SECONDS, self._timeout_seconds))
        except Cut:
            return False
        return reply.code == 250

    async def noop(self) -> None:
        """Make sure that the server still answers. Raises Cut."""
        [reply] = await self._ask(b"NOOP", seconds=self._timeout_seconds)
        if reply.code != 250:
            raise Cut(f"the server answered NOOP with {reply}")

    async def hand_over(self, mail: Outgoing) -> Answer:
        """Hand over one message.

        Raises Cut or LogInMissing: nothing was taken, and the connection is of no further use. After the final dot was
        written nothing is raised: whatever then keeps the answer away is Doubtful. A cancelled call leaves a
        connection that has to be dropped.
        """
        fault = fault_of(mail, self._offers)
        if fault is not None:
            return Refused(Refusal.REJECTED, fault)
        commands = self._envelope(mail)
        replies = await self._propose(commands)
        for command, reply in zip(commands, replies, strict=False):
            if not _taken(command, reply):
                if replies[-1].code == START_CONTENT:
                    self.drop()  # it waits for a message that it turned down: even the dot alone could become one
                return await self._turned_down(command, reply)
        return await self._write_content(stuffed(mail.content))

    def drop(self) -> None:
        """Close at once, without a word."""
        self._writer.transport.abort()

    def leave(self) -> None:
        """Say goodbye and close; what is still to be written is."""
        if self.alive:
            self._writer.write(b"QUIT\r\n")
        self._writer.close()

    async def closed(self, seconds: float) -> None:
        """Wait until the connection is closed, by force after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._writer.wait_closed()
        except OSError:  # a TimeoutError is one, and so is a connection that was broken before
            self.drop()

    def _envelope(self, mail: Outgoing) -> tuple[bytes, bytes, bytes]:
        options = f" SIZE={len(mail.content)}" if self._offers.size is not None else ""
        if not (mail.sender.isascii() and mail.to.isascii()):
            options += " SMTPUTF8"
        return f"MAIL FROM:<{mail.sender}>{options}".encode(), f"RCPT TO:<{mail.to}>".encode(), b"DATA"

    async def _propose(self, commands: Sequence[bytes]) -> list[Reply]:
        """The server's replies: up to the first command that it turns down, or to all where it takes them at once."""
        if self._offers.pipelining:
            return await self._ask(*commands, seconds=self._timeout_seconds)
        replies: list[Reply] = []
        for command in commands:
            replies += await self._ask(command, seconds=self._timeout_seconds)
            if not _taken(command, replies[-1]):
                break
        return replies

    async def _turned_down(self, command: bytes, reply: Reply) -> Answer:
        """What a reply before the content means; the transaction is taken back."""
        if reply.code in LOG_IN_CODES:
            raise LogInMissing(reply)
        kind = reply.code // 100
        if reply.code == SERVICE_CLOSING or kind not in (4, 5):
            verb = command[:4].decode("ascii")
            raise Cut(f"the server answered {verb} with {reply}")
        try:
            [reset] = await self._ask(b"RSET", seconds=self._timeout_seconds)
        except Cut:
            self.drop()
        else:
            if reset.code != 250:
                self.drop()
        return _told(reply)

    async def _write_content(self, content: bytes) -> Answer:
        """Write all but the last piece, then the last one together with the dot: from there on only an answer tells."""
        start = 0
        while len(content) - start > PIECE_OCTETS:
            await self._write_piece(content[start : start + PIECE_OCTETS])
            start += PIECE_OCTETS
        if not self.alive:
            raise Cut("the connection was closed before the message was written")
        self._writer.write(content[start:] + b".\r\n")
        try:
            [reply] = await self._replies(1, self._answer_seconds)
        except Cut as cut:
            self.drop()
            return Doubtful(f"after the message was written: {cut}")
        if reply.code // 100 == 2:
            return Accepted(queue_id(reply.text))
        if reply.code // 100 == 3:
            self.drop()
            return Doubtful(f"the server answered the message with {reply}")
        if reply.code == SERVICE_CLOSING:
            self.drop()
        return _told(reply)

    async def _write_piece(self, piece: bytes) -> None:
        """Write and wait until the kernel has it, so that a cut in a long message is known to come before its dot."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                self._writer.write(piece)
                await self._writer.drain()
        except OSError as error:  # a TimeoutError is one
            raise Cut("the connection was lost while the message was being written") from error
        if not self.alive:
            raise Cut("the connection was closed while the message was being written")

    async def _ask(self, *commands: bytes, seconds: float) -> list[Reply]:
        """Write the commands at once and read a reply to each. Raises Cut."""
        if not self.alive:
            raise Cut("the server had closed the connection")
        self._writer.write(b"\r\n".join((*commands, b"")))
        return await self._replies(len(commands), seconds)

    async def _replies(self, count: int, seconds: float) -> list[Reply]:
        """The next replies, within so many seconds; fewer only where the server says that it closes. Raises Cut."""
        replies: list[Reply] = []
        try:
            async with asyncio.timeout(seconds):
                while len(replies) < count and not (replies and replies[-1].code == SERVICE_CLOSING):
                    replies.append(await self._reply())
        except TimeoutError as error:
            raise Cut(f"no answer within {seconds:g} s") from error
        except (OSError, ValueError) as error:  # ValueError: a line longer than any reply
            raise Cut("the connection was lost") from error
        return replies

    async def _reply(self) -> Reply:
        words: list[bytes] = []
        while len(words) < REPLY_LINES:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise Cut("the server closed the connection")
            match = _REPLY_LINE.fullmatch(line)
            if match is None:
                raise Cut("the server answered what is not SMTP")
            words.append(match[3] or b"")
            if match[2] != b"-":
                return Reply(int(match[1]), printable(b" ".join(words).decode("utf-8", "replace")))
        raise Cut("the server's answer does not end")


def fault_of(mail: Outgoing, offers: Offers) -> str | None:
    """Why this message cannot be handed to this server; None: it can.

    What could end a command or the content early never reaches the wire: one message must not smuggle in another.
    """
    for what, address in (("sender", mail.sender), ("recipient", mail.to)):
        if not address or not address.isprintable() or any(c in address for c in " <>"):
            return f"the {what}'s address has a character that no envelope may carry, or is empty"
    if not mail.content.count(b"\r\n") == mail.content.count(b"\r") == mail.content.count(b"\n"):
        return "the message has a bare CR or LF"
    if offers.size and len(mail.content) > offers.size:
        return f"the message has {len(mail.content)} octets; the server takes at most {offers.size}"
    if not offers.smtputf8 and not (mail.sender.isascii() and mail.to.isascii()):
        return "the address has characters beyond ASCII; the server does not offer SMTPUTF8"
    return None


def stuffed(content: bytes) -> bytes:
    """The content as DATA wants it: a dot that begins a line doubled, the last line ended; without the final dot."""
    if content.startswith(b"."):
        content = b"." + content
    content = content.replace(b"\r\n.", b"\r\n..")
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def queue_id(text: str) -> str | None:
    """The server's own id of the message, where its answer carries one; at most 200 characters."""
    for pattern in _QUEUE_IDS:
        match = pattern.search(text)
        if match is not None:
            return match[1].rstrip(".")[:PROVIDER_ID_CHARACTERS]
    return None


def printable(text: str) -> str:
    """The text without control characters."""
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())


def _taken(command: bytes, reply: Reply) -> bool:
    return reply.code == START_CONTENT if command == b"DATA" else reply.code // 100 == 2


def _told(reply: Reply) -> Answer:
    return Refused(Refusal.REJECTED, str(reply)) if reply.code // 100 == 5 else Later(str(reply))


def _streams(transport: asyncio.Transport) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Take a connection over from the protocol that opened it, as StreamWriter.start_tls does."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    transport.set_write_buffer_limits(high=0)  # drain() then means: the kernel has it
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
