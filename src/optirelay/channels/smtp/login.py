"""From the settings to a session: connect, encrypt, log in; what goes wrong is told with its mend."""

import asyncio
import re
import socket
import ssl
from typing import Literal, Protocol, cast

import aiosmtplib

from optirelay.channels.smtp.session import Offers, Session, printable
from optirelay.errors import TryLater

WORDS_CHARACTERS = 200
_ENHANCED_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")


class Secret(Protocol):
    """A value that shows itself only when asked by name."""

    def reveal(self) -> str: ...


class SmtpOptions(Protocol):
    """The channel's own table of settings."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def security(self) -> Literal["starttls", "tls", "none"]: ...
    @property
    def username(self) -> str | None: ...
    @property
    def password(self) -> Secret | None: ...
    @property
    def connections(self) -> int: ...


class Login:
    """Opens sessions with one server. Certificates are verified, against SSL_CERT_FILE if it is set."""

    def __init__(self, options: SmtpOptions, *, timeout_seconds: float, answer_seconds: float) -> None:
        self._options = options
        self._timeout_seconds = timeout_seconds
        self._answer_seconds = answer_seconds
        self._tls = None if options.security == "none" else ssl.create_default_context()
        self._our_name: str | None = None
        self.server = f"{options.host}:{options.port}"

    async def open(self) -> Session:
        """A session, logged in, within the channel's time-out. Raises TryLater; its text never carries the password."""
        client = aiosmtplib.SMTP(
            hostname=self._options.host,
            port=self._options.port,
            use_tls=self._options.security == "tls",
            start_tls=False,  # done by _greet, which never goes on in plain text
            tls_context=self._tls,
            timeout=self._timeout_seconds,
        )
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._greet(client)
            return self._session(client)
        except aiosmtplib.SMTPAuthenticationError as error:
            # A server may repeat what it was sent: of its words only the codes are kept, and no cause.
            raise self.refused(error.code, error.message) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise TryLater(self._sentence(error)) from error
        finally:
            client.close()

    def refused(self, code: int, words: str) -> TryLater:
        """What an operator reads when the server does not take our log-in."""
        enhanced = _ENHANCED_CODE.match(words)
        codes = f"{code} {enhanced[0]}" if enhanced else f"{code}"
        return TryLater(f"{self.server} refuses the log-in ({codes}); check `username` and `password`")

    async def _greet(self, client: aiosmtplib.SMTP) -> None:
        if self._our_name is None:
            self._our_name = await asyncio.to_thread(socket.getfqdn)
        await client.connect(local_hostname=self._our_name)
        await client.ehlo()
        if self._options.security == "starttls":
            if not client.supports_extension("starttls"):
                raise TryLater(
                    f"{self.server} offers no STARTTLS; set `security` to tls (usual on port 465), "
                    "or to none where the network can be trusted"
                )
            await client.starttls()
            await client.ehlo()
        if self._options.username is not None:
            if not client.supported_auth_methods:
                raise TryLater(
                    f"{self.server} offers no log-in that we know (PLAIN, LOGIN, CRAM-MD5); "
                    "check `security`, or leave `username` out"
                )
            password = self._options.password
            await client.login(self._options.username, password.reveal() if password else "")

    def _session(self, client: aiosmtplib.SMTP) -> Session:
        if client.transport is None or client.transport.is_closing():
            raise aiosmtplib.SMTPServerDisconnected("closed after the log-in")
        transport = cast("asyncio.Transport", client.transport)  # uvloop's does not say so
        client.transport = None  # the session's from now on: closing the client leaves it open
        size = client.esmtp_extensions.get("size")
        offers = Offers(
            size=None if size is None else int(size) if size.isascii() and size.isdecimal() else 0,
            smtputf8=client.supports_extension("smtputf8"),
            pipelining=client.supports_extension("pipelining"),
        )
        return Session(transport, offers, timeout_seconds=self._timeout_seconds, answer_seconds=self._answer_seconds)

    def _sentence(self, error: Exception) -> str:
        """What happened and what mends it, for an operator."""
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        match cause:
            case TimeoutError():
                what = f"{self.server} does not answer within {self._timeout_seconds:g} s"
                return f"{what}; check `host`, `port`, `security` and what stands between"
            case socket.gaierror():
                return f"the name {self._options.host} is not known ({cause.strerror}); check `host`"
            case ssl.SSLCertVerificationError():
                what = f"the certificate of {self.server} cannot be trusted ({cause.verify_message})"
                return f"{what}; check `host`, or name its authority in SSL_CERT_FILE"
            case ssl.SSLError():
                what = f"no TLS with {self.server} ({cause.reason})"
                return f"{what}; check `security`: starttls is usual on port 587, tls on 465"
            case aiosmtplib.SMTPResponseException():
                words = printable(cause.message.replace("\n", " "))[:WORDS_CHARACTERS]
                return f"{self.server} turns us away ({cause.code} {words}); ask its operator, or lower `connections`"
            case OSError(strerror=str(words)):
                return f"no connection to {self.server} ({words}); check `host` and `port`"
            case _:
                words = printable(str(cause))[:WORDS_CHARACTERS]
                return f"no connection to {self.server} ({words}); check `host` and `port`"
