"""A set of files goes where the setting `upload` says; the manifest last."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from optirelay.engine.opt_in_files._foreign import SFTP, in_our_words
from optirelay.engine.opt_in_files._writing import manifest_of
from optirelay.errors import GiveUp, TryLater
from optirelay.settings import ChannelSettings
from optirelay.stages.opt_in_files import MANIFEST

SILENCE_SECONDS = 600
"""Without a step forward, after so long nobody waits any more, whatever the protocol does."""


async def upload(channel: ChannelSettings, directory: Path, name: str, *, tenant: str) -> None:
    """Upload a set of files; nothing where the channel has no `upload`.

    Each goes under a temporary name into the directory that the URL names, and is moved to its own when it is whole;
    the manifest is the last. Again changes nothing: parts that are there, by name and size, do not go once more.

    SFTP logs in with the URL's password, else with the keys of this account (its agent, ~/.ssh/id_*), and only at a
    server whose key is in its known_hosts.

    NeedsOperator: the server does not know us or we not it, there is no such directory, a package is missing. TryLater:
    no connection, no answer. GiveUp: the files are not there any more. No text of these shows the URL.
    """
    url = channel.batch_file.upload
    if url is None:
        return
    manifest = manifest_of(directory, name)
    paths = [directory / part.name for part in manifest.parts] if manifest else []
    if not paths or not all(path.exists() for path in paths):
        raise GiveUp(f"{directory / name}: these files are not there any more, so they are not uploaded")
    setting = f"tenants.{tenant}.channels.{channel.name}.batch_file.upload"
    with in_our_words(setting, sftp=url.reveal().startswith(SFTP)):
        await _apart(lambda steps: _send(url.reveal(), [*paths, directory / (name + MANIFEST)], steps))


def _send(url: str, paths: list[Path], steps: "_Steps") -> None:
    from optirelay.engine.opt_in_files import _remote  # takes a moment, and few channels upload

    _remote.send(url, paths, steps.step)


class _Steps:
    """How an upload tells that it goes on, and hears that it need not."""

    def __init__(self) -> None:
        self.last_at = time.monotonic()
        self.stopped = threading.Event()

    def step(self) -> None:
        """So far it went. TimeoutError where nobody waits any more."""
        self.last_at = time.monotonic()
        if self.stopped.is_set():
            raise TimeoutError("nobody waits for it any more")


async def _apart(work: Callable[[_Steps], None]) -> None:
    """In a thread that nobody has to wait for: neither who is cancelled, nor the end of the process."""
    loop, steps = asyncio.get_running_loop(), _Steps()
    done: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        failed = None
        try:
            work(steps)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
            failed = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(end, failed)

    threading.Thread(target=run, daemon=True, name="upload").start()
    try:
        while not done.done():
            left = steps.last_at + SILENCE_SECONDS - time.monotonic()
            if left <= 0:
                raise TryLater(f"the upload did not go on for {SILENCE_SECONDS} s")
            await asyncio.wait([done], timeout=left)
        done.result()
    finally:
        steps.stopped.set()
        done.cancel()
