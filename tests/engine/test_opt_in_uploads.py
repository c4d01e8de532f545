"""Files of opt-ins are uploaded to a real SFTP server, once, whole, and to no other."""

import asyncio
import socket
import threading
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from tests.engine.sftp_server import PASSWORD, QUOTED, SftpServer, sftp_server
from tests.opt_in_files import NAME, channel, names, people, read_set, row, write

from optirelay.engine import opt_in_files
from optirelay.errors import GiveUp, NeedsOperator, OptirelayError, TryLater
from optirelay.settings import ChannelSettings

SETTING = r"tenants\.acme\.channels\.texts\.batch_file\.upload: "


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of the account that uploads; it has no keys and knows no servers."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SftpServer]:
    (tmp_path / "theirs" / "optins").mkdir(parents=True)
    async with sftp_server(tmp_path / "theirs") as server:
        yield server


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return tmp_path / "ours"


async def upload(directory: Path, url: str) -> None:
    await opt_in_files.upload(channel(upload=url), directory, NAME, tenant="acme")


async def refused(directory: Path, url: str) -> OptirelayError:
    """What an upload fails with; nothing of the login stands in it, nor in what a traceback would show."""
    with pytest.raises(OptirelayError, match=SETTING) as failed:
        await upload(directory, url)
    shown = "".join(traceback.format_exception(failed.value))
    for secret in (PASSWORD, QUOTED, "p@ss", "acme:", "wrong"):
        assert secret not in shown
    return failed.value


async def test_files_arrive_whole_the_manifest_last_and_the_same_again_changes_nothing(
    home: Path, server: SftpServer, ours: Path
) -> None:
    server.known_by(home)
    await write(channel(), ours, people(1500), part_bytes=40_000)
    await upload(ours, server.url())
    theirs = server.root / "optins"
    assert names(theirs) == names(ours)
    assert read_set(theirs) == read_set(ours)
    assert server.renamed == sorted(names(ours), key=lambda name: (name.endswith(".json"), name))
    assert all(name.startswith(".") and name.endswith(".tmp") for name in server.written)
    server.renamed.clear()
    await upload(ours, server.url())
    assert server.renamed == [f"{NAME}.manifest.json"]
    half = theirs / f"{NAME}-2.csv.gz"
    half.write_bytes(half.read_bytes()[:100])
    server.old = True
    await upload(ours, server.url())
    assert read_set(theirs) == read_set(ours)
    assert names(theirs) == names(ours)


async def test_a_key_of_the_account_is_a_login_and_a_password_goes_before_it(
    home: Path, server: SftpServer, ours: Path
) -> None:
    server.known_by(home)
    await write(channel(), ours, [row("C-1")])
    error = await refused(ours, server.url("acme"))
    assert isinstance(error, NeedsOperator)
    assert "neither a password in the URL nor a key" in str(error)
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(home / ".ssh" / "id_ed25519")
    assert "refused the login" in str(await refused(ours, server.url("acme")))
    await upload(ours, server.url())
    server.keys.append(key)
    (server.root / "by-key").mkdir()
    await upload(ours, server.url("acme", "/by-key"))
    assert names(server.root / "by-key") == names(ours)


async def test_a_server_that_the_account_does_not_know_gets_nothing(home: Path, server: SftpServer, ours: Path) -> None:
    await write(channel(), ours, [row("C-1")])
    error = await refused(ours, server.url())
    assert isinstance(error, NeedsOperator)
    assert "is not in known_hosts" in str(error)
    assert "SHA256:" in str(error)
    server.host_key, known = asyncssh.generate_private_key("ssh-rsa", key_size=2048), server.host_key
    server.known_by(home)
    error = await refused(ours, server.url())
    assert isinstance(error, NeedsOperator)
    assert "another key than known_hosts" in str(error)
    server.host_key = known
    server.known_by(home)
    await upload(ours, server.url())
    assert names(server.root / "optins") == names(ours)


async def test_what_the_operator_has_to_mend_is_said(home: Path, server: SftpServer, ours: Path) -> None:
    server.known_by(home)
    await write(channel(), ours, [row("C-1")])
    for url, what in (
        (server.url("acme:wrong"), "refused the login"),
        (server.url(path="/none"), "no such directory"),
        ("s3://bucket/optins", "a package is missing .*s3fs"),
        ("sftp://acme:wrong/x@127.0.0.1/optins", "cannot use this URL"),
    ):
        error = await refused(ours, url)
        assert isinstance(error, NeedsOperator)
        with pytest.raises(NeedsOperator, match=what):
            raise error


async def test_who_cannot_be_reached_or_cuts_the_line_is_tried_later(
    home: Path, server: SftpServer, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(channel(), ours, [row("C-1")])
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for host in (f"127.0.0.1:{port}", "nobody.invalid"):
        assert isinstance(await refused(ours, f"sftp://acme:{QUOTED}@{host}/optins"), TryLater)
    async with scripted(b"") as port:
        assert isinstance(await refused(ours, f"sftp://acme:{QUOTED}@127.0.0.1:{port}/optins"), TryLater)
    monkeypatch.setattr("optirelay.engine.opt_in_files._sftp.ANSWER_SECONDS", 0.3)
    async with scripted(None) as port:
        assert isinstance(await refused(ours, f"sftp://acme:{QUOTED}@127.0.0.1:{port}/optins"), TryLater)


async def test_an_upload_that_does_not_go_on_is_left(
    home: Path, server: SftpServer, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optirelay.engine.opt_in_files._uploading.SILENCE_SECONDS", 0.3)
    await write(channel(), ours, [row("C-1")])
    async with scripted(None) as port:
        error = await refused(ours, f"sftp://acme:{QUOTED}@127.0.0.1:{port}/optins")
    assert isinstance(error, TryLater)
    assert "did not go on" in str(error)


async def test_who_is_cancelled_does_not_wait_for_a_server_that_is_silent(home: Path, ours: Path) -> None:
    await write(channel(), ours, [row("C-1")])
    async with scripted(None) as port:
        going = asyncio.create_task(upload(ours, f"sftp://acme:{QUOTED}@127.0.0.1:{port}/optins"))
        while not [thread for thread in threading.enumerate() if thread.name == "upload"]:
            await asyncio.sleep(0.01)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "upload")


async def test_any_other_url_of_fsspec_does_and_without_one_nothing_is_uploaded(tmp_path: Path, ours: Path) -> None:
    await write(channel(), ours, [row("C-1")])
    (tmp_path / "share").mkdir()
    await upload(ours, f"file://{tmp_path}/share")
    assert names(tmp_path / "share") == names(ours)
    assert isinstance(await refused(ours, f"file://{tmp_path}/none"), NeedsOperator)
    no_upload: ChannelSettings = channel()
    await opt_in_files.upload(no_upload, ours, NAME, tenant="acme")
    (ours / f"{NAME}.csv.gz").unlink()
    with pytest.raises(GiveUp, match="not there any more"):
        await upload(ours, f"file://{tmp_path}/share")


@asynccontextmanager
async def scripted(answer: bytes | None) -> AsyncIterator[int]:
    """Somebody who says this to whoever comes and hangs up, or says nothing at all; the port."""
    over = asyncio.Event()

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await over.wait()
        writer.close()

    server: Any = await asyncio.start_server(answers, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        server.close()
        await server.wait_closed()
