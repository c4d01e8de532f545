"""The settings file read anew while the service runs: what came of it is told to the operator."""

import socket
from pathlib import Path

import structlog

from optirelay.model import ProblemKind
from optirelay.settings import BadSettings, Settings, load_again
from optirelay.store import Store, StoreUnavailable

log = structlog.get_logger()


async def read_anew(store: Store, running: Settings) -> Settings | None:
    """The settings that the file holds now. None where they cannot work: the operator is told, and nothing changes."""
    try:
        return load_again(running)
    except BadSettings as error:
        await failed(store, running.path, "; ".join(map(str, error.faults)))
        return None


async def failed(store: Store, path: Path, mend: str) -> None:
    """Nothing has changed; the operator is told what to mend."""
    log.error("reload_failed", file=str(path), mend=mend)
    try:
        async with store.transaction() as everyone:
            await everyone.problems.tell(
                ProblemKind.RELOAD_FAILED,
                f"{path} on {socket.gethostname()} was to be read anew and cannot work; the settings before are in use",
                f"{mend}. Then send SIGHUP again",
                subject=_subject(path),
            )
    except StoreUnavailable as error:
        log.warning("store_unavailable", why=str(error))


async def succeeded(store: Store, path: Path) -> None:
    """What the file holds is in use."""
    try:
        async with store.transaction() as everyone:
            await everyone.problems.mended(ProblemKind.RELOAD_FAILED, subject=_subject(path))
    except StoreUnavailable as error:
        log.warning("store_unavailable", why=str(error))


def _subject(path: Path) -> str:
    return f"{socket.gethostname()} {path}"
