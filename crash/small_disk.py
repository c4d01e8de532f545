"""A disk of a few megabytes in memory, to be filled up: mounted by root, else in a namespace of our own."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from crash.errors import Missing

HOW_TO_GET = "it needs root, or util-linux' unshare and nsenter with user namespaces allowed"
_PIECE = 64 * 1024


@dataclass(frozen=True)
class SmallDisk:
    """`inside` is where programs started through `prefix` see it, `outside` is where we do."""

    inside: Path
    outside: Path
    prefix: tuple[str, ...] = ()

    def fill(self) -> int:
        """Use up what is free; how many octets that was."""
        filler = os.open(self.outside / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        written = 0
        try:
            for size in (_PIECE, 512):
                while True:
                    try:
                        written += os.write(filler, bytes(size))
                    except OSError:  # no space left
                        break
        finally:
            os.close(filler)
        return written

    def free(self) -> None:
        """Give it back."""
        (self.outside / "filler").unlink(missing_ok=True)


@asynccontextmanager
async def small_disk(folder: Path, *, megabytes: int) -> AsyncIterator[SmallDisk]:
    """Mount one there until the end. Missing where that is not to be had."""
    folder.mkdir()
    options = ("-t", "tmpfs", "-o", f"size={megabytes}m,mode=0711", "none", str(folder))
    async with _mounted_by_root(folder, options) if os.geteuid() == 0 else _mounted_by_us(folder, options) as disk:
        yield disk


@asynccontextmanager
async def _mounted_by_root(folder: Path, options: tuple[str, ...]) -> AsyncIterator[SmallDisk]:
    if await _run("mount", *options):
        raise Missing(f"no small disk can be mounted here: {HOW_TO_GET}")
    try:
        yield SmallDisk(folder, folder)
    finally:
        await _run("umount", "--lazy", str(folder))


@asynccontextmanager
async def _mounted_by_us(folder: Path, options: tuple[str, ...]) -> AsyncIterator[SmallDisk]:
    """A process holds the namespace in which it is mounted, and ends when its standard input does."""
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        raise Missing(f"no small disk can be mounted here: {HOW_TO_GET}")
    holder = await asyncio.create_subprocess_exec(
        *(
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            'mount "$@" && echo mounted && exec cat',
            "sh",
        ),
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        if await holder.stdout.readline() != b"mounted\n":
            raise Missing(f"no small disk can be mounted here: {HOW_TO_GET}")
        enter = ("nsenter", "--user", "--mount", "--preserve-credentials", "--target", str(holder.pid))
        # PostgreSQL refuses to run as root, even as one that is root only in here: it gets its own number back.
        again = ("unshare", "--user", f"--map-user={os.geteuid()}", f"--map-group={os.getegid()}")
        outside = Path(f"/proc/{holder.pid}/root") / folder.relative_to("/")
        yield SmallDisk(folder, outside, (*enter, *again))
    finally:
        holder.stdin.close()
        await holder.wait()


async def _run(*command: str) -> int:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait()
