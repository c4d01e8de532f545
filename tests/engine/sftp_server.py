"""A real SFTP server (asyncssh) on this machine, and an account whose home knows it or does not."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

PASSWORD = "p@ss/w:rd%41 \u00e9"
QUOTED = "p%40ss%2Fw%3Ard%2541%20%C3%A9"


class _Door(asyncssh.SSHServer):
    def __init__(self, server: "SftpServer") -> None:
        self._server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._server.connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("acme", PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == "acme" and any(key.public_data == known.public_data for known in self._server.keys)


@dataclass
class SftpServer:
    """What it has, and what was asked of it."""

    root: Path
    port: int
    host_key: asyncssh.SSHKey
    keys: list[asyncssh.SSHKey]
    written: list[str] = field(default_factory=list)  # names of files that were opened to be written
    renamed: list[str] = field(default_factory=list)  # to these names, in this order
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)  # so far
    old: bool = False  # knows no renaming over a file

    def url(self, login: str = f"acme:{QUOTED}", path: str = "/optins") -> str:
        return f"sftp://{login}@127.0.0.1:{self.port}{path}"

    def known_by(self, home: Path) -> None:
        """Its key is in the known hosts of an account."""
        line = f"[127.0.0.1]:{self.port} {self.host_key.export_public_key().decode()}"
        (home / ".ssh").mkdir(exist_ok=True)
        (home / ".ssh" / "known_hosts").write_text(line)


def _files(server: SftpServer) -> type[asyncssh.SFTPServer]:
    class Files(asyncssh.SFTPServer):
        def __init__(self, channel: "asyncssh.SSHServerChannel[bytes]") -> None:
            super().__init__(channel, chroot=os.fsencode(server.root))

        def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
            if pflags & asyncssh.FXF_WRITE:
                server.written.append(Path(path.decode()).name)
            return super().open(path, pflags, attrs)

        def posix_rename(self, oldpath: bytes, newpath: bytes) -> Any:
            if server.old:
                raise asyncssh.SFTPOpUnsupported("posix-rename")
            server.renamed.append(Path(newpath.decode()).name)
            return super().posix_rename(oldpath, newpath)

        def rename(self, oldpath: bytes, newpath: bytes, flags: int = 0) -> Any:
            server.renamed.append(Path(newpath.decode()).name)
            return super().rename(oldpath, newpath)

    return Files


@asynccontextmanager
async def sftp_server(root: Path) -> AsyncIterator[SftpServer]:
    """Serve a folder as /, to who has the password or one of the keys."""
    host_key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)  # not the kind that paramiko asks for first
    other = asyncssh.generate_private_key("ssh-ed25519")
    server = SftpServer(root, 0, host_key, [])
    acceptor = await asyncssh.create_server(
        lambda: _Door(server),
        "127.0.0.1",
        0,
        server_host_keys=[host_key, other],
        sftp_factory=_files(server),
        encoding=None,
    )
    server.port = acceptor.get_port()
    try:
        yield server
    finally:
        acceptor.close()
        await acceptor.wait_closed()
        for connection in server.connections:
            connection.abort()
            await connection.wait_closed()
