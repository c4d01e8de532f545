"""SFTP as fsspec speaks it, to servers that this account knows."""

import logging
from contextlib import suppress
from urllib.parse import unquote, urlsplit

import paramiko
from fsspec.callbacks import Callback
from fsspec.implementations.sftp import SFTPFileSystem

EVERYBODYS_HOSTS = "/etc/ssh/ssh_known_hosts"  # beside ~/.ssh/known_hosts
CONNECT_SECONDS = 20  # to each address of the server
ANSWER_SECONDS = 60  # that one answer may take

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # what it says there, with tracebacks, our errors say

_CUT = ("saw EOF", "timeout.")  # how paramiko ends what it says when a login was not answered
_NOTHING_TO_SHOW = "No authentication methods available"


class UnknownServer(Exception):
    """The server's key is in no file of known hosts; the text is the key's fingerprint."""


class KnownServersOnly(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Whoever answers in a server's place would get the files: fsspec alone takes every key."""

    def missing_host_key(self, _client: paramiko.SSHClient, _hostname: str, key: paramiko.PKey) -> None:
        """Refuse it, with what the operator has to compare."""
        raise UnknownServer(f"{key.get_name()} {key.fingerprint}")


class Sftp(SFTPFileSystem):  # type: ignore[misc]
    """fsspec's, but for who is trusted, how long an answer may take, and servers that cannot rename over a file."""

    def _connect(self) -> None:
        self.client = paramiko.SSHClient()
        self.client.load_system_host_keys()
        with suppress(OSError):
            self.client.load_system_host_keys(EVERYBODYS_HOSTS)
        self.client.set_missing_host_key_policy(KnownServersOnly())
        by_key = "password" not in self.ssh_kwargs  # keys that are refused count as tries
        try:
            self.client.connect(
                self.host,
                **self.ssh_kwargs,
                allow_agent=by_key,
                look_for_keys=by_key,
                timeout=CONNECT_SECONDS,
                banner_timeout=ANSWER_SECONDS,
                auth_timeout=ANSWER_SECONDS,
                channel_timeout=ANSWER_SECONDS,
            )
            self.ftp = self.client.open_sftp()
            self.ftp.get_channel().settimeout(ANSWER_SECONDS)
        except BaseException:
            self.client.close()
            raise

    def put_file(self, lpath: str, rpath: str, callback: Callback, **_: object) -> None:
        """Upload a file into a directory that is there."""
        self.ftp.put(lpath, rpath, callback=lambda so_far, _: callback.absolute_update(so_far))

    def mv(self, old: str, new: str) -> None:
        """Rename, over what is there."""
        try:
            self.ftp.posix_rename(old, new)
        except FileNotFoundError:
            raise
        except OSError:  # the protocol itself has no such thing, and an older server neither
            with suppress(FileNotFoundError):
                self.ftp.remove(new)
            self.ftp.rename(old, new)


def connect(text: str) -> tuple[Sftp, str]:
    """A new connection to the URL's server, and the directory that it names."""
    url = urlsplit(text)
    parts = {"host": url.hostname, "port": url.port, "username": url.username, "password": url.password}
    options = {key: unquote(part) if isinstance(part, str) else part for key, part in parts.items() if part}
    return Sftp(**options, skip_instance_cache=True), unquote(url.path)


def for_a_person(error: Exception) -> str | None:
    """What the operator has to mend before an upload can work; None where it may work next time."""
    match error:
        case UnknownServer():
            return (
                f"the server's key ({error}) is not in known_hosts of the account that runs this; compare it with "
                "what the server's operator says, and add it: ssh-keyscan -p PORT HOST >> ~/.ssh/known_hosts"
            )
        case paramiko.BadHostKeyException():
            return (
                "the server shows another key than known_hosts has, as somebody in its place would; "
                "ask the server's operator, then put ~/.ssh/known_hosts right"
            )
        case paramiko.AuthenticationException() if not str(error).endswith(_CUT):
            return "the server refused the login; put user and password right, or give it this account's public key"
        case paramiko.SSHException() if str(error) == _NOTHING_TO_SHOW:
            return "there is neither a password in the URL nor a key of this account; give one of them"
        case paramiko.ssh_exception.IncompatiblePeer():
            return "the server speaks no algorithm that is known here; have it brought up to date"
    return None
