"""Where files are uploaded to: whatever fsspec speaks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fsspec.callbacks import Callback
from fsspec.core import url_to_fs

from optirelay.engine.opt_in_files._foreign import SFTP
from optirelay.stages.opt_in_files import MANIFEST, temporary


class _Steps(Callback):  # type: ignore[misc]
    """Tells a step whenever fsspec tells one."""

    def __init__(self, step: Callable[[], None]) -> None:
        super().__init__()
        self._step = step

    def call(self, *_: object, **__: object) -> None:
        """So far it went."""
        self._step()


def send(url: str, paths: Sequence[Path], step: Callable[[], None]) -> None:
    """Upload files in this order, each under a temporary name until it is whole; but for the manifest, only those that
    are not there by name and size. `step` is called on the way; what it raises ends the upload.
    """
    steps = _Steps(step)
    system, folder = _open(url)
    try:
        for path in paths:
            target = f"{folder.rstrip('/')}/{path.name}"
            if path.name.endswith(MANIFEST) or _size(system, target) != path.stat().st_size:
                unfinished = f"{folder.rstrip('/')}/{temporary(path.name)}"
                system.put_file(str(path), unfinished, callback=steps)
                system.mv(unfinished, target)
            step()
    finally:
        if url.startswith(SFTP):
            system.client.close()


def _open(url: str) -> tuple[Any, str]:
    """fsspec keeps what it opened, and the password with it, unless it is told not to."""
    if url.startswith(SFTP):
        from optirelay.engine.opt_in_files import _sftp  # and paramiko with it

        return _sftp.connect(url)
    system, folder = url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
    return system, folder


def _size(system: Any, path: str) -> int | None:
    try:
        return int(system.info(path)["size"])
    except FileNotFoundError:
        return None
